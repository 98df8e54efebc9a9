"use strict";
// The page's own script. Data reaches the document only as text (textContent), never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const RUN = { id: 0, script: 1, code: 2, started: 3, duration: 4, values: 5, error: 6, facts: 7, pid: 8, exit: 9, cpu: 10, memory: 11, ended: 12, parent: 13, progress: 14, note: 15, alerts: 16, warnings: 17, steps: 18 };
  const { outcomes, scripts, runs, texts, errors, facts, logs } = data;
  const failed = new Set(data.failed);
  const DAY = 86400;
  const SVG = "http://www.w3.org/2000/svg";
  const $ = (id) => document.getElementById(id);

  // ---- elements

  function el(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === true) made.setAttribute(key, "");
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }

  function badge(word) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS(SVG, "use");
    use.setAttribute("href", `#o-${word}`);
    svg.append(use);
    return el("span", { class: `badge o-${word}` }, svg, word);
  }
  // How a run ended or stands: its outcome, and what is wrong with it while it is under way.
  const stands = (run) => [outcomes[run[RUN.code]], ...(run[RUN.alerts] || [])];
  const badges = (run) => stands(run).flatMap((word, place) => (place ? [" ", badge(word)] : [badge(word)]));

  // ---- words, as supervisor/_text.py has them

  const digits = (value, count) => String(Number(value.toPrecision(count)));
  const grouped = (value, places = 0) => value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });

  function duration(seconds) {
    if (typeof seconds !== "number") return String(seconds);
    if (seconds < 10) {
      if (seconds >= 1) return `${digits(seconds, 3)} s`;
      return seconds >= 0.001 ? `${digits(seconds * 1000, 3)} ms` : "less than 1 ms";
    }
    const whole = Math.round(seconds);
    for (const [size, unit, smaller, name] of [[DAY, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
      if (whole >= size) {
        const rest = Math.floor((whole % size) / smaller);
        return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${name}` : ""}`;
      }
    }
    return `${whole} s`;
  }

  function number(value) {
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return Math.abs(value) < 1e15 ? grouped(value) : String(value);
    return Math.abs(value) >= 1 ? grouped(value, 2) : digits(value, 3);
  }

  function size(bytes) {
    let left = bytes;
    for (const unit of ["B", "KB", "MB", "GB"]) {
      if (left < 1000) return unit === "B" || left >= 100 ? `${Math.round(left)} ${unit}` : `${digits(left, 3)} ${unit}`;
      left /= 1024;
    }
    return `${digits(left, 3)} TB`;
  }

  const counted = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;

  // ---- instants, as the clock on the wall of the machine shows them, wherever the reader is

  function wall(seconds) {
    let offset = data.offsets.length ? data.offsets[0][1] : 0;
    for (const [from, ahead] of data.offsets) {
      if (seconds < from) break;
      offset = ahead;
    }
    return seconds + offset;
  }
  const day = (seconds) => Math.floor(wall(seconds) / DAY);
  const iso = (wallSeconds) => new Date(wallSeconds * 1000).toISOString();
  const minute = (seconds) => iso(wall(seconds)).slice(0, 16).replace("T", " ");
  const second = (seconds) => iso(wall(seconds)).slice(0, 19).replace("T", " ");
  const date = (days) => iso(days * DAY).slice(0, 10);
  const WEEKDAYS = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
  const dayName = (days) => `${WEEKDAYS[((days % 7) + 7) % 7]}, ${date(days)}`;

  // ---- runs

  const scriptOf = (run) => scripts[run[RUN.script]];
  const nameOf = (run) => scriptOf(run).name || "(no name)";
  const warned = (run) => Boolean(run[RUN.warnings]) && !failed.has(run[RUN.code]);
  const errorOf = (run) => (typeof run[RUN.error] === "number" ? errors[run[RUN.error]] : null);
  const factsOf = (run) => facts[run[RUN.facts]] || {};
  const link = (id) => `#run=${encodeURIComponent(id)}`;

  function pairs(run) {
    const flat = run[RUN.values] || [];
    const found = [];
    for (let place = 0; place < flat.length; place += 2) found.push([texts[flat[place]], flat[place + 1]]);
    return found;
  }
  const valuesText = (run) => pairs(run).map(([name, value]) => `${name} ${number(value)}`).join(" ");
  function errorText(run) {
    const error = errorOf(run);
    if (warned(run)) return run[RUN.warnings][0];
    if (error) return `${error.type}${error.message ? `: ${error.message}` : ""}`;
    return run[RUN.exit] ? `exit code ${run[RUN.exit]}` : "";
  }

  let placeById = null;
  function findRun(id) {
    placeById = placeById || new Map(runs.map((run, place) => [run[RUN.id], place]));
    return placeById.has(id) ? placeById.get(id) : -1;
  }
  const ofScript = new Map();
  function runsOf(script) {
    // Oldest first: as charts show them.
    if (!ofScript.has(script)) {
      const places = runs.map((run, place) => place).filter((place) => runs[place][RUN.script] === script);
      ofScript.set(script, places.sort((a, b) => runs[a][RUN.started] - runs[b][RUN.started] || b - a));
    }
    return ofScript.get(script);
  }

  // ---- the list: filter, sort, pages

  const list = { shown: [], page: 0, size: 50, sort: "started", down: true };
  const filterIds = ["script", "outcome", "text", "from", "to"];
  const haystacks = [];
  function haystack(place) {
    if (haystacks[place] === undefined) {
      const run = runs[place];
      const fact = factsOf(run);
      const error = errorOf(run);
      const parts = [nameOf(run), stands(run).join(" "), minute(run[RUN.started]), run[RUN.id], valuesText(run), errorText(run)];
      haystacks[place] = [...parts, error && error.where, fact.host, fact.user, fact.command].join("\n").toLowerCase();
    }
    return haystacks[place];
  }

  const collator = new Intl.Collator("en", { sensitivity: "base", numeric: true });
  const keys = {
    name: nameOf,
    outcome: (run) => outcomes[run[RUN.code]],
    started: (run) => run[RUN.started],
    duration: (run) => run[RUN.duration],
    values: (run) => (run[RUN.values] ? pairs(run).flat() : ""),  // by the first name, then by its value
    error: errorText,
  };
  function compared(one, other) {
    if (typeof one === "number" && typeof other === "number") return one - other;
    if (!Array.isArray(one)) return collator.compare(one, other);
    for (let place = 0; place < Math.min(one.length, other.length); place += 1) {
      const differ = compared(one[place], other[place]);
      if (differ) return differ;
    }
    return one.length - other.length;
  }

  function filtered() {
    const script = $("f-script").value;
    const outcome = $("f-outcome").value;
    const words = $("f-text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const from = Date.parse($("f-from").value) / 1000 / DAY;
    const to = Date.parse($("f-to").value) / 1000 / DAY;
    const found = [];
    for (let place = 0; place < runs.length; place += 1) {
      const run = runs[place];
      if (script !== "" && run[RUN.script] !== Number(script)) continue;
      if (outcome === "bad" ? !failed.has(run[RUN.code]) : outcome !== "" && run[RUN.code] !== Number(outcome)) continue;
      if (from > day(run[RUN.started]) || to < day(run[RUN.started])) continue;
      if (words.length && !words.every((word) => haystack(place).includes(word))) continue;
      found.push(place);
    }
    return found;
  }

  function sorted(places) {
    const key = keys[list.sort];
    const made = new Map(places.map((place) => [place, key(runs[place])]));
    const sign = list.down ? -1 : 1;
    return places.sort((a, b) => {
      const one = made.get(a);
      const other = made.get(b);
      // What is empty goes last, whichever way the rest goes; equals stay newest first.
      if (one === "" || other === "") return (one === "") - (other === "") || a - b;
      return sign * compared(one, other) || a - b;
    });
  }

  function refresh() {
    list.shown = sorted(filtered());
    list.page = 0;
    $("f-reset").disabled = filterIds.every((id) => $(`f-${id}`).value === "");
    const all = runs.length;
    const bad = list.shown.filter((place) => failed.has(runs[place][RUN.code])).length;
    const some = list.shown.length === all ? counted(all, "run") : `${grouped(list.shown.length)} of ${counted(all, "run")}`;
    $("count").textContent = list.shown.length ? `${some}, ${bad ? grouped(bad) : "none"} failed` : `No run fits: 0 of ${counted(all, "run")}.`;
    show();
  }

  function show() {
    const last = Math.max(0, Math.ceil(list.shown.length / list.size) - 1);
    list.page = Math.min(Math.max(0, list.page), last);
    const start = list.page * list.size;
    $("table").tBodies[0].replaceChildren(...list.shown.slice(start, start + list.size).map(rowOf));
    const end = Math.min(start + list.size, list.shown.length);
    $("p-where").textContent = end ? `${grouped(start + 1)} to ${grouped(end)} of ${grouped(list.shown.length)}` : "";
    $("p-first").disabled = $("p-before").disabled = list.page === 0;
    $("p-next").disabled = $("p-last").disabled = list.page === last;
    for (const head of document.querySelectorAll("#table th[data-sort]")) {
      if (head.dataset.sort === list.sort) head.setAttribute("aria-sort", list.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function rowOf(place) {
    const run = runs[place];
    const error = errorOf(run);
    const values = pairs(run).slice(0, 6).map(([name, value]) => el("span", { class: "pair" }, el("bdi", null, name), " ", el("b", null, el("bdi", null, number(value))), " "));
    const message = error && !warned(run)
      ? el("span", { class: "clip" }, el("span", { class: "error-type" }, el("bdi", null, error.type)), " ", el("bdi", null, (error.message || "").slice(0, 300)))
      : errorText(run);
    const cell = (label, ...content) => el("td", { role: "cell", "data-label": label }, ...content);
    const duration_cell = cell("Duration", duration(run[RUN.duration]));
    duration_cell.className = "right";
    const started = cell("Started", minute(run[RUN.started]));
    started.className = "figures";
    return el(
      "tr", { role: "row" },
      el("th", { role: "rowheader", scope: "row" }, el("a", { href: link(run[RUN.id]) }, el("bdi", null, nameOf(run)))),
      cell("Outcome", ...badges(run)),
      started,
      duration_cell,
      values.length ? cell("Values", el("span", { class: "clip" }, ...values)) : cell("Values"),
      message ? cell("Error", message) : cell("Error"),
    );
  }

  function sortBy(column) {
    list.down = list.sort === column ? !list.down : column === "started" || column === "duration";
    list.sort = column;
    refresh();
  }

  function prepareList() {
    if (!$("list")) return;
    $("list").hidden = false;
    const order = scripts.map((script, place) => place).sort((a, b) => collator.compare(scripts[a].name, scripts[b].name));
    $("f-script").append(...order.map((place) => el("option", { value: place }, scripts[place].name || "(no name)")));
    const used = new Set(runs.map((run) => run[RUN.code]));
    $("f-outcome").append(...outcomes.map((outcome, code) => (used.has(code) ? el("option", { value: code }, outcome) : null)).filter(Boolean));
    let timer = 0;
    const soon = () => { clearTimeout(timer); timer = setTimeout(refresh, 120); };
    for (const id of filterIds) $(`f-${id}`).addEventListener(id === "text" ? "input" : "change", soon);
    document.querySelector(".filters").addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
    $("f-reset").addEventListener("click", () => { filter({}); $("f-script").focus(); });
    for (const head of document.querySelectorAll("#table th[data-sort]")) {
      head.firstElementChild.addEventListener("click", () => sortBy(head.dataset.sort));
    }
    const turn = (to) => () => { list.page = to(); show(); };
    $("p-first").addEventListener("click", turn(() => 0));
    $("p-before").addEventListener("click", turn(() => list.page - 1));
    $("p-next").addEventListener("click", turn(() => list.page + 1));
    $("p-last").addEventListener("click", turn(() => Infinity));
    $("p-size").addEventListener("change", () => { list.size = Number($("p-size").value); list.page = 0; show(); });
    for (const button of document.querySelectorAll(".show-runs")) {
      button.hidden = false;
      button.addEventListener("click", () => goToList({ script: button.dataset.script }));
    }
    for (const id of filterIds) $(`f-${id}`).value = "";  // some browsers keep what was typed before a reload
    refresh();
  }

  function filter(values) {
    for (const id of filterIds) $(`f-${id}`).value = values[id] === undefined ? "" : values[id];
    refresh();
  }
  function goToList(values) {
    filter(values);
    $("runs-title").focus({ preventScroll: true });
    $("runs").scrollIntoView();
  }

  // ---- calendars and charts: one stop of the Tab key each, arrow keys inside, as a slider

  const tip = $("tip");
  function tell(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const above = y - box.height - 14;
    tip.style.left = `${Math.max(8, Math.min(x - box.width / 2, document.documentElement.clientWidth - box.width - 8))}px`;
    tip.style.top = `${above > 4 ? above : y + 18}px`;
  }
  const hush = () => { tip.hidden = true; };

  function dayText(script, days) {
    const counts = scripts[script].days[days];
    if (!counts) return `${dayName(days)}: no runs`;
    return `${dayName(days)}: ${counts.map((count, code) => (count ? `${grouped(count)} ${outcomes[code]}` : "")).filter(Boolean).join(", ")}`;
  }

  function calendar(plot) {
    const script = Number(plot.dataset.script);
    const first = Number(plot.dataset.first);
    const last = Number(plot.dataset.last);
    const [cell, step, left, top] = [11, 14, 30, 18];
    return {
      count: last - first + 1,
      text: (place) => dayText(script, first + place),
      box: (place) => [left + Math.floor(place / 7) * step, top + (place % 7) * step, cell, cell],
      at: (x, y) => {
        const [week, row] = [Math.floor((x - left) / step), Math.floor((y - top) / step)];
        return week < 0 || row < 0 || row > 6 ? -1 : week * 7 + row;
      },
      open: (place) => goToList({ script, from: date(first + place), to: date(first + place) }),
      steps: { ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1, PageUp: -28, PageDown: 28 },
    };
  }

  function chart(plot) {
    const script = Number(plot.dataset.script);
    const key = plot.dataset.key;
    const [first, last] = [Number(plot.dataset.first), Number(plot.dataset.last)];
    const valueOf = (run) => {
      if (key === undefined) return outcomes[run[RUN.code]] === "skipped" ? undefined : duration(run[RUN.duration]);
      const found = pairs(run).find(([name, value]) => name === key && typeof value === "number");
      return found && number(found[1]);
    };
    const places = runsOf(script).filter((place) => valueOf(runs[place]) !== undefined);
    const share = (place) => 0.01 + 0.98 * Math.min(1, Math.max(0, (runs[places[place]][RUN.started] - first) / (last - first || 1)));
    return {
      count: places.length,
      text: (place) => {
        const run = runs[places[place]];
        const error = errorText(run);
        return `${minute(run[RUN.started])}: ${outcomes[run[RUN.code]]}, ${key === undefined ? "" : `${key} `}${valueOf(run)}${error ? `\n${error.slice(0, 120)}` : ""}`;
      },
      x: (place) => share(place) * plot.clientWidth,
      at: (x) => {
        const wanted = x / plot.clientWidth;
        let [low, high] = [0, places.length - 1];
        while (high - low > 1) {
          const middle = (low + high) >> 1;
          if (share(middle) < wanted) low = middle; else high = middle;
        }
        return high >= 0 && Math.abs(share(high) - wanted) < Math.abs(share(low) - wanted) ? high : low;
      },
      open: (place) => { location.hash = link(runs[places[place]][RUN.id]); },
      steps: { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 1, ArrowDown: -1, PageUp: -10, PageDown: 10 },
    };
  }

  function prepare(plot) {
    let made = null;
    const model = () => { made = made || (plot.classList.contains("days") ? calendar(plot) : chart(plot)); return made; };
    const cursor = el("span", { class: plot.classList.contains("days") ? "cursor" : "cursor thin", hidden: true });
    let current = -1;

    function mark(place, byKey) {
      const it = model();
      if (place < 0 || place >= it.count) { leave(); return; }
      current = place;
      cursor.hidden = false;
      const frame = plot.getBoundingClientRect();
      let [x, y] = [0, 0];
      if (it.box) {
        const [left, top, width, height] = it.box(place);
        Object.assign(cursor.style, { left: `${left - 2}px`, top: `${top - 2}px`, width: `${width + 4}px`, height: `${height + 4}px` });
        [x, y] = [left + width / 2, top];
      } else {
        x = it.x(place);
        cursor.style.left = `${x}px`;
        y = 12;
      }
      plot.setAttribute("aria-valuenow", place);
      plot.setAttribute("aria-valuetext", it.text(place));
      if (byKey && it.box) cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
      const now = byKey ? plot.getBoundingClientRect() : frame;
      tell(it.text(place), now.left + x, now.top + y);
    }
    function leave() { cursor.hidden = true; hush(); }

    plot.append(cursor);
    plot.setAttribute("aria-label", `${plot.closest("figure").querySelector("figcaption").textContent.trim()}: ${plot.getAttribute("aria-label")}`);
    plot.setAttribute("role", "slider");
    plot.setAttribute("aria-orientation", "horizontal");
    plot.setAttribute("tabindex", "0");
    plot.setAttribute("aria-valuemin", "0");
    plot.setAttribute("aria-valuenow", "0");
    plot.setAttribute("aria-valuetext", "Arrow keys go through it, Enter opens");
    plot.addEventListener("focus", () => {
      if (!model().count) return;
      plot.setAttribute("aria-valuemax", model().count - 1);
      if (plot.matches(":focus-visible")) mark(current < 0 ? model().count - 1 : current, true);
    });
    plot.addEventListener("blur", leave);
    plot.addEventListener("pointermove", (event) => {
      const frame = plot.getBoundingClientRect();
      mark(model().at(event.clientX - frame.left, event.clientY - frame.top), false);
    });
    plot.addEventListener("pointerleave", leave);
    plot.addEventListener("click", () => { if (current >= 0 && current < model().count && !cursor.hidden) { hush(); model().open(current); } });
    plot.addEventListener("keydown", (event) => {
      const it = model();
      if (event.altKey || event.ctrlKey || event.metaKey || !it.count) return;
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); if (current >= 0) { hush(); it.open(current); } return; }
      if (event.key === "Escape") { leave(); return; }
      const ends = { Home: 0, End: it.count - 1 };
      const to = event.key in ends ? ends[event.key] : event.key in it.steps ? current + it.steps[event.key] : -1;
      if (!(event.key in ends) && !(event.key in it.steps)) return;
      event.preventDefault();
      mark(Math.min(it.count - 1, Math.max(0, to)), true);
    });
  }

  // ---- run pages, addressed by #run=ID

  const dialog = $("run");
  let open = -1;
  let came = null;

  function fact(name, value, whole) {
    if (value === undefined || value === null || value === "") return null;
    return el("div", whole ? { class: "whole" } : null, el("dt", null, name), el("dd", null, value instanceof Node ? value : el("bdi", null, String(value))));
  }
  const block = (label, text) => el("pre", { role: "region", "aria-label": label, tabindex: "0", dir: "ltr" }, text);

  function errorParts(run) {
    const error = errorOf(run);
    if (!error) return [];
    const parts = [el("h3", null, "Error"), el("div", { class: "problem" }, el("p", null, el("strong", null, error.type), error.message ? `: ${error.message}` : ""))];
    if (error.where || error.thread) parts.push(el("p", { class: "soft" }, [error.where && `at ${error.where}`, error.thread && `in ${error.thread}`].filter(Boolean).join(", ")));
    for (const note of error.notes || []) parts.push(el("p", { class: "note" }, note));
    if (error.excerpt) parts.push(block("The code around it", error.excerpt));
    if (error.locals) {
      const rows = error.locals.map(([name, text]) => el("tr", null, el("th", { scope: "row" }, el("code", null, name)), el("td", null, el("code", null, text))));
      parts.push(el("details", null, el("summary", null, "Local variables"), el("table", null, el("tbody", null, ...rows))));
    }
    if (error.traceback) parts.push(el("details", { open: true }, el("summary", null, "Traceback"), block("Traceback", error.traceback)));
    if (error.left_out) parts.push(el("p", { class: "note" }, "Its traceback was left out to keep this page small. It is in the journal: ", el("code", null, `supervisor show ${run[RUN.id]}`)));
    return parts;
  }

  function warningParts(run) {
    const found = run[RUN.warnings];
    if (!found) return [];
    return [el("h3", null, "Warnings"), el("ul", null, ...found.map((text) => el("li", { class: "warn-text" }, el("bdi", null, text))))];
  }

  function stepParts(run) {
    const found = run[RUN.steps];
    if (!found) return [];
    const usual = scriptOf(run).steps;
    const rows = found.map(([place, outcome, seconds, text, depth]) => {
      const name = texts[place];
      const words = Object.prototype.hasOwnProperty.call(usual, name) ? `usually ${usual[name]}` : "";
      return el("tr", null, el("th", { scope: "row" }, "\u2003".repeat(depth || 0), el("bdi", null, name)), el("td", null, badge(outcome || "running")), el("td", { class: "figures" }, duration(seconds || 0)), el("td", { class: "soft" }, words), el("td", null, el("bdi", null, text)));
    });
    return [el("h3", null, "Steps"), el("table", null, el("tbody", null, ...rows))];
  }

  function valueParts(run) {
    const found = pairs(run);
    if (!found.length) return [];
    const usual = scriptOf(run).values;
    const rows = found.map(([name, value]) => {
      const words = Object.prototype.hasOwnProperty.call(usual, name) ? `usually ${usual[name]}` : "";
      return el("tr", null, el("th", { scope: "row" }, el("bdi", null, name)), el("td", { class: "figures" }, el("bdi", null, number(value))), el("td", { class: "soft" }, words));
    });
    return [el("h3", null, "Recorded"), el("table", null, el("tbody", null, ...rows))];
  }

  function progressParts(run) {
    if (!run[RUN.progress]) return [];
    const [done, total, message] = run[RUN.progress];
    const known = typeof total === "number" && total > 0 && typeof done === "number";
    const share = known ? Math.max(0, Math.min(1, done / total)) : 0;
    const words = `${number(done)}${known ? ` of ${number(total)} (${Math.floor(share * 100)} %)` : ""}`;
    const bar = known ? el("progress", { max: "1", value: share, "aria-label": "Progress" }) : null;
    return [el("h3", null, "Last progress"), el("p", null, bar, words, message ? el("bdi", null, `, ${message}`) : "")];
  }

  function logParts(place, run) {
    const [text, note] = logs[place] || ["", ""];
    if (!text && !note) return [];
    const path = factsOf(run).log_path;
    const parts = [el("h3", null, "Log"), el("p", { class: "soft" }, text ? "The last lines of " : "", el("code", null, path || ""), text ? " as it was when this page was written" : "")];
    if (note) parts.push(el("p", null, note));
    if (text) parts.push(block("The last lines of the log", text));
    return parts;
  }

  function factParts(run) {
    const known = factsOf(run);
    const parent = run[RUN.parent];
    return [el("h3", null, "Facts"), el(
      "dl", null,
      fact("Run", el("a", { href: link(run[RUN.id]) }, run[RUN.id])),
      fact("Inside of", parent && el("a", { href: link(parent) }, parent)),
      fact("Started", second(run[RUN.started])),
      fact("Ended", run[RUN.ended] && second(run[RUN.ended])),
      fact("Took", duration(run[RUN.duration])),
      fact("Usually", scriptOf(run).usual.replace("usually ", "")),
      fact("Exit code", run[RUN.exit]),
      fact("Processor", run[RUN.cpu] !== null && run[RUN.cpu] !== undefined ? duration(run[RUN.cpu]) : ""),
      fact("Memory", run[RUN.memory] ? `${size(run[RUN.memory])} at most` : ""),
      fact("Host", known.host),
      fact("User", known.user),
      fact("Process", run[RUN.pid]),
      fact("Python", known.python),
      fact("Schedule", known.schedule),
      fact("At most", known.max_duration_s && duration(known.max_duration_s)),
      fact("Stalls after", known.stall_after_s && duration(known.stall_after_s)),
      fact("Log", known.log_path, true),
      fact("Command", known.command && el("code", null, known.command), true),
      fact("In a terminal", el("code", null, `supervisor show ${run[RUN.id]}`), true),
    )];
  }

  function pageOf(place) {
    const run = runs[place];
    const usual = scriptOf(run).usual;
    const took = `${outcomes[run[RUN.code]] === "running" ? "for" : "took"} ${duration(run[RUN.duration])}${usual ? ` (${usual})` : ""}`;
    return [
      el("h2", { id: "run-title", tabindex: "-1" }, el("bdi", null, nameOf(run))),
      el("p", { class: "lead" }, ...badges(run), el("span", { class: "figures" }, minute(run[RUN.started])), el("span", { class: "soft" }, took)),
      run[RUN.note] ? el("p", { class: "note" }, run[RUN.note]) : null,
      ...errorParts(run), ...warningParts(run), ...stepParts(run), ...valueParts(run), ...progressParts(run), ...logParts(place, run), ...factParts(run),
    ].filter(Boolean);
  }

  function unknownPage(id) {
    return [el("h2", { id: "run-title", tabindex: "-1" }, "This page does not have that run"), el("p", null, "It may be newer than this page, or older than what stands in it. If the journal still has it, this shows it: ", el("code", null, `supervisor show ${id.slice(0, 80)}`))];
  }

  function neighbours() {
    if (open < 0) return [-1, -1];
    const places = runsOf(runs[open][RUN.script]);
    const at = places.indexOf(open);
    return [at + 1 < places.length ? places[at + 1] : -1, at > 0 ? places[at - 1] : -1];
  }

  function openRun(id) {
    open = findRun(id);
    $("run-body").replaceChildren(...(open < 0 ? unknownPage(id) : pageOf(open)));
    const [newer, older] = neighbours();
    $("r-newer").disabled = newer < 0;
    $("r-older").disabled = older < 0;
    hush();
    if (!dialog.open) {
      came = document.activeElement;
      dialog.showModal();
    }
    dialog.scrollTop = 0;
    $("run-title").focus({ preventScroll: true });
  }

  function step(place) {
    if (place >= 0) location.replace(link(runs[place][RUN.id]));
  }

  function follow() {
    const found = /^#run=(.*)$/.exec(location.hash);
    if (found) {
      let id = found[1];
      try { id = decodeURIComponent(id); } catch { /* a link that was cut: it is shown as it is */ }
      openRun(id);
    } else if (dialog.open) {
      dialog.close();
    }
  }

  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#run=")) {
      try { history.replaceState(null, "", location.pathname + location.search); } catch { location.hash = "#runs"; }
    }
    $("run-body").replaceChildren();
    const back = came && came.isConnected && came !== document.body ? came : $("runs-title");
    came = null;
    if (back) back.focus({ preventScroll: true });
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  $("r-close").addEventListener("click", () => dialog.close());
  $("r-newer").addEventListener("click", () => step(neighbours()[0]));
  $("r-older").addEventListener("click", () => step(neighbours()[1]));
  window.addEventListener("hashchange", follow);

  // ---- colours

  function theme(choice) {
    document.documentElement.dataset.theme = choice;
    for (const button of document.querySelectorAll("[data-theme-choice]")) button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
  }
  function prepareTheme() {
    document.querySelector(".theme").hidden = false;
    let kept = null;
    try { kept = localStorage.getItem("supervisor-theme"); } catch { /* pages without storage start anew each time */ }
    if (kept === "light" || kept === "dark") theme(kept);
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.addEventListener("click", () => {
        theme(button.dataset.themeChoice);
        try { localStorage.setItem("supervisor-theme", button.dataset.themeChoice); } catch { /* pages without storage start anew each time */ }
      });
    }
  }

  function tellAge() {
    const hours = (Date.now() / 1000 - data.written) / 3600;
    if (hours >= 2) $("age").textContent = `, ${hours < 48 ? counted(Math.floor(hours), "hour") : counted(Math.floor(hours / 24), "day")} ago`;
  }

  prepareTheme();
  tellAge();
  prepareList();
  document.querySelectorAll(".plot").forEach(prepare);
  document.addEventListener("scroll", hush, { passive: true });
  follow();
  performance.mark("usable");
})();

"""The settings of a run, defined once.

``supervise``, ``supervised`` and ``Supervisor`` take the parameters of :class:`Settings`, and show its explanations.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import attrs

from supervisor import _setting_values as values
from supervisor._models import Kind
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor._models.values import MessageHandler


class RunOption(NamedTuple):
    """The option of ``supervisor run`` that gives a setting; ``_cli.exec`` reads its value.

    Args:
        flag: The option as it is written ("--log").
        metavar: The name of its value in ``--help``; "" for an option without a value, which sets the setting to False.
        help: The text in ``--help``.
    """

    flag: str
    metavar: str
    help: str


def _given_by(example: str | None, *option: str) -> dict[str, Any]:
    """Return the metadata of a setting: how others than the script give it.

    Args:
        example: A value for the configuration's template, as TOML; None if only the script can give the setting.
        option: The fields of the :class:`RunOption`; none if ``supervisor run`` has no option for the setting.
    """
    return {"example": example, "option": RunOption(*option) if option else None}


SENT: Literal["handlers"] = "handlers"
"""The value of ``send`` with which messages are sent; with any other they are not."""

_KEPT = {"is_kept": True}
"""More metadata: the journal keeps the setting with each run, and reports have it."""


# Looked up once: each run asks for them, and a member of an enum takes as long as a clock.
_PROGRESS = Kind.PROGRESS
_ANNOUNCED = frozenset({Kind.START, Kind.SUCCESS, Kind.SKIPPED})


class Needs(NamedTuple):
    """What a run needs because of its settings, worked out once for all runs that have these.

    Args:
        announced: Which of start, success and skipped is sent, because ``report_on`` or a handler asks for it.
        has_features: Whether the run has its own log, limits or a lock on its name; most runs never load the code for
            these.
        progress_interval_s: The seconds between two progress messages; None if handlers get none.
    """

    announced: frozenset[Kind]
    has_features: bool
    progress_interval_s: float | None


@attrs.frozen
class Settings:
    """What a run is called, who gets its messages, and how far supervision goes.

    Args:
        name: The name of the run in messages and in the journal. Default None: the function's name, or the name of
            the script's file for blocks and for a function called ``main``.
        title: What people read instead of the name, in messages, lists and the report page; the journal and commands
            go by the name. Default None: the name.
        subject: The subject of the messages about the end of the run, with fields in braces: "{name} {outcome}
            ({values.rows:,} rows)". What is not known is shown as "?". Default None: supervisor's own subjects.
        handlers: One handler or several, or their names in the configuration; they get the messages. Default ():
            none, or those of the configuration.
        send: Where messages go. "console" prints them instead, with whom they are for; "off" drops them. Unlike for
            other settings, the configuration (``SUPERVISOR_SEND``, a profile) wins over the script, so that nothing
            is sent while a script is developed. The run is then kept in memory, unless ``journal`` is given. Default
            "handlers".
        logger: A logger, or the name of one, that gets uncaught exceptions at level ERROR with their traceback.
            Default None: no logger.
        log_path: The path of a log file to attach to failure messages. Default None: no file.
        report_on: More kinds of messages to send: "start", "success", "skipped", "progress", one or several. Warning,
            failure, recovery, stalled, overdue, died and missed are always sent, and so is what ``run.notify()`` is
            given.
            A handler that has ``kinds`` of its own gets those instead. Default (): no more kinds.
        reraise: False suppresses an exception after it was reported; the call then returns None. ``SystemExit``,
            ``KeyboardInterrupt``, SIGTERM and cancellations are never suppressed. Default True.
        progress_every_s: Seconds between two progress messages to the handlers. Default None: no progress messages,
            or one every 600 s if ``report_on`` has "progress".
        progress_bar: False shows no live bar on a terminal, and logs progress instead, as elsewhere. Default True.
        delivery_deadline_s: The most seconds that the end of a run waits for its messages to be delivered; 0 does
            not wait. Default 30.0.
        journal: True keeps the run, and the messages that wait, on disk in the state directory. False keeps them in
            memory: what is not delivered when the process ends is lost. Default True.
        repeat_after_s: Holds back a failure that equals one (same exception, same place) reported less than this
            many seconds ago; the next one that is sent says how many were held back. It needs the journal.
            Default 0.0: every failure is sent.
        alert_after: When failures are told: 2 says with the second failure in a row, "6h" when they have lasted so
            long. The message shows those before it, later failures of the row are not sent, and a recovery only if the
            failures were. It needs the journal. Default None: every failure is sent.
        remind_every: How often ``supervisor check`` reminds of what still fails or is still missed, by a message of the
            kind of the first ("1d"). Default None: never.
        capture_logs: True writes what all loggers let through, and warnings, to a log file of the run's own; the
            name of a logger, or several, limits it to those. "parcels=DEBUG" asks the logger ``parcels`` for more,
            "root=INFO" all loggers. The file is attached to failure messages and summaries. Default None: no log
            file.
        warn_on: Which records in the run's own log (``capture_logs``) make a warning of the run, as ``run.warn()``
            does: "error" for those from ERROR up, "warning" for those from WARNING up, None for none; what supervisor
            itself logs is no warning. Default "error".
        warn_exit_codes: Exit codes that end a run with a warning, and not as a failure: one or several of 1-255. The
            process still ends with the code. Default (): none.
        redact_patterns: More to remove from all that is stored or sent: regular expressions by the names that
            replace what they match. If one has a group called ``secret``, only that group is replaced. Default {}.
        redact_off: What to leave in although it looks like a secret: names from ``supervisor.plugins.REDACTED``
            ("token", "cookie", ...). Default ().
        show_locals: True shows the local variables of the script's own functions in failure messages, without
            secrets. Default False.
        stall_after_s: Sends a message (kind stalled) when the run has made no progress for this many seconds, with
            the stack of every thread. Default None: progress is not watched.
        max_duration_s: Sends a message (kind overdue) when the run takes longer than this many seconds, with the
            stack of every thread. Default None: no limit.
        on_overdue: What else happens when a run stalls or takes too long. "report" lets it continue; "interrupt"
            raises ``KeyboardInterrupt`` in the thread of the run (in asyncio it cancels the task), and the run ends
            with ``OverdueError``. Other threads than the main one are reached when they next run Python code, a
            coroutine that blocks its event loop when it next awaits. Default "report".
        retries: How often a function or coroutine is called again after an exception, at most 100; a block or generator
            cannot be. Default 0: never.
        retry_wait_s: Seconds to wait before it is called again; each further wait is twice as long, with up to a
            quarter of this on top by chance, and at most an hour. 0 does not wait. Default 60.0.
        retry_on: After which exceptions: one type or several, or their names. Whatever ends a run on purpose
            (``SystemExit``, ``KeyboardInterrupt``, cancellations, ``OverdueError``) is never among them. Default
            "Exception": any that is an error.
        schedule: When the run should start: a cron expression in the machine's time ("0 2 * * *") or an interval
            ("every 15 min"). ``supervisor check`` sends a message (kind missed) when it did not. Default None: no
            schedule.
        timezone: The time zone of the schedule, and of the times in the run's messages ("America/Denver"). Default
            None: the machine's, which in containers is UTC.
        grace_s: How many seconds late a scheduled start may be before it counts as missed. Default 600.0.
        links: Addresses of pages that go with each message, by their titles, besides those that are found:
            {"Runbook": "https://..."}. ``{run_id}``, ``{name}``, ``{host}``, ``{pod}``, ``{namespace}``,
            ``{project}`` and ``{region}`` in an address are filled in, as far as they are known. Default {}.
        host: Where the run runs, as messages, ``supervisor history`` and the page call it. Default None: what is found
            ("Cloud Run job parcels (execution parcels-x7k2), project example"), or the name of the machine.
        heartbeat_s: How often, in seconds, the run notes in the journal that it lives; 0 for never. It is reported as
            died when three of these signs of life are missing and 30 seconds more have passed. Default None: 60 s
            where a later process may not be able to look this one up (in a container, with a journal on a network
            file system, on a machine without an id), never elsewhere.
        log_format: How supervisor's own log lines are written to stderr where the script has set up no logging: "text",
            or "gcp", one JSON object a line as Google Cloud reads it. Default None: "gcp" in Cloud Run, else "text".
        overlap: What happens when a run of this name is still under way on this machine. "allow" starts another;
            "skip" does not call the function (a block cannot be skipped, it raises ``RunSkipped``); "fail" reports
            a failure and raises ``OverlapError``. Default "allow".

    Raises:
        ConfigurationError: A setting is unknown, of the wrong type or out of range; the message names it.
    """

    name: str | None = attrs.field(
        default=None,
        converter=values.clean_name,
        validator=values.name,
        metadata=_given_by(
            None,
            "--name",
            "NAME",
            "The name of the run in messages and in the journal; by default that of the program, see below.",
        ),
    )
    title: str | None = attrs.field(
        default=None,
        converter=values.clean_name,
        validator=values.name,
        kw_only=True,
        metadata=_given_by(
            '"Nightly parcels"', "--title", "TITLE", "What messages and lists call the run instead of its name."
        )
        | _KEPT,
    )
    subject: str | None = attrs.field(
        default=None,
        validator=values.subject,
        kw_only=True,
        metadata=_given_by('"{name} {outcome} ({values.rows:,} rows)"'),
    )
    handlers: tuple[MessageHandler, ...] = attrs.field(
        default=(),
        converter=values.handlers,
        kw_only=True,
        metadata=_given_by(
            '["console"]',
            "--handler",
            "NAME",
            "Send messages to this configured handler instead of those for the run; may be repeated.",
        ),
    )
    send: Literal["handlers", "console", "off"] = attrs.field(
        default="handlers",
        validator=values.one_of("handlers", "console", "off"),
        kw_only=True,
        metadata=_given_by('"console"') | _KEPT,
    )
    logger: Any = attrs.field(default=None, converter=values.logger, kw_only=True, metadata=_given_by('"nightly"'))
    log_path: str | None = attrs.field(
        default=None,
        converter=values.path,
        kw_only=True,
        metadata=_given_by(
            '"logs/nightly.log"', "--log", "FILE", "A log file that the program writes, to attach to failure messages."
        ),
    )
    report_on: frozenset[Kind] = attrs.field(
        default=(),
        converter=values.kinds,
        kw_only=True,
        metadata=_given_by(
            '["success"]',
            "--report-on",
            "KIND",
            "Report this too (start, success); may be repeated. Warnings, failures and recoveries always are.",
        ),
    )
    reraise: bool = attrs.field(default=True, validator=values.yes_or_no, kw_only=True, metadata=_given_by("true"))
    progress_every_s: float | None = attrs.field(
        default=None, validator=values.seconds, kw_only=True, metadata=_given_by("600")
    )
    progress_bar: bool = attrs.field(
        default=True, validator=values.yes_or_no, kw_only=True, metadata=_given_by("false")
    )
    delivery_deadline_s: float = attrs.field(
        default=30.0, validator=values.seconds_or_zero, kw_only=True, metadata=_given_by("30")
    )
    journal: bool = attrs.field(
        default=True,
        validator=values.yes_or_no,
        kw_only=True,
        metadata=_given_by("true", "--no-journal", "", "Keep the run, and messages that wait, in memory only."),
    )
    repeat_after_s: float = attrs.field(
        default=0.0, validator=values.seconds_or_zero, kw_only=True, metadata=_given_by("3600")
    )
    alert_after: str | int | None = attrs.field(
        default=None,
        converter=values.count_or_duration,
        validator=values.failures_or_duration,
        kw_only=True,
        metadata=_given_by('"6h"') | _KEPT,
    )
    remind_every: str | None = attrs.field(
        default=None, validator=values.duration_or_none, kw_only=True, metadata=_given_by('"1d"') | _KEPT
    )
    capture_logs: tuple[str, ...] | None = attrs.field(
        default=None, converter=values.captured, kw_only=True, metadata=_given_by("true")
    )
    warn_on: Literal["error", "warning"] | None = attrs.field(
        default="error",
        converter=values.none_by_word,
        validator=values.one_of_or_none("error", "warning"),
        kw_only=True,
        metadata=_given_by('"warning"'),
    )
    warn_exit_codes: tuple[int, ...] = attrs.field(
        default=(),
        converter=values.warn_exit_codes,
        kw_only=True,
        metadata=_given_by(
            "[3]",
            "--warn-codes",
            "CODES",
            "Exit codes that are a warning and no failure (3, or 3,24); may be repeated.",
        ),
    )
    redact_patterns: Mapping[str, str] = attrs.field(
        default={},
        converter=values.patterns,
        validator=values.redaction,
        kw_only=True,
        hash=False,
        metadata=_given_by("{ customer = 'customer no\\\\. (?P<secret>[0-9]+)' }"),
    )
    redact_off: frozenset[str] = attrs.field(
        default=(), converter=values.names, validator=values.redaction, kw_only=True, metadata=_given_by('["cookie"]')
    )
    show_locals: bool = attrs.field(default=False, validator=values.yes_or_no, kw_only=True, metadata=_given_by("true"))
    stall_after_s: float | None = attrs.field(
        default=None,
        validator=values.seconds,
        kw_only=True,
        metadata=_given_by("900", "--stall-after", "TIME", "Report a run without output or progress for so long."),
    )
    max_duration_s: float | None = attrs.field(
        default=None,
        validator=values.seconds,
        kw_only=True,
        metadata=_given_by("7200", "--max-duration", "TIME", "Report a run that takes longer, and let it continue."),
    )
    on_overdue: Literal["report", "interrupt"] = attrs.field(
        default="report",
        validator=values.one_of("report", "interrupt"),
        kw_only=True,
        metadata=_given_by('"report"') | _KEPT,
    )
    retries: int = attrs.field(
        default=0,
        validator=values.retries,
        kw_only=True,
        metadata=_given_by("3", "--retries", "N", "Start the program again after a failure, at most N times."),
    )
    retry_wait_s: float = attrs.field(
        default=60.0,
        validator=values.seconds_or_zero,
        kw_only=True,
        metadata=_given_by(
            "60", "--retry-wait", "TIME", "The time before it is started again, doubled each time; by default 60 s."
        ),
    )
    retry_on: tuple[type[Exception] | str, ...] = attrs.field(
        default="Exception",
        converter=values.retry_on,
        kw_only=True,
        metadata=_given_by('["TimeoutError", "ConnectionError"]'),
    )
    schedule: str | None = attrs.field(
        default=None,
        validator=values.schedule,
        kw_only=True,
        metadata=_given_by(
            '"0 2 * * *"',
            "--schedule",
            "WHEN",
            "When it should run ('0 2 * * *', 'every 15 min'): `supervisor check` reports when it did not.",
        ),
    )
    timezone: str | None = attrs.field(
        default=None, validator=values.timezone, kw_only=True, metadata=_given_by('"America/Denver"') | _KEPT
    )
    grace_s: float = attrs.field(
        default=600.0, validator=values.seconds_or_zero, kw_only=True, metadata=_given_by("600")
    )
    links: Mapping[str, str] = attrs.field(
        default={},
        converter=values.links,
        kw_only=True,
        hash=False,
        metadata=_given_by("{ Runbook = 'https://wiki.example/nightly' }"),
    )
    host: str | None = attrs.field(
        default=None, converter=values.clean_name, validator=values.name, kw_only=True, metadata=_given_by('"gis1"')
    )
    heartbeat_s: float | None = attrs.field(
        default=None, validator=values.seconds_or_zero_or_none, kw_only=True, metadata=_given_by("60")
    )
    log_format: Literal["text", "gcp"] | None = attrs.field(
        default=None, validator=values.one_of_or_none("text", "gcp"), kw_only=True, metadata=_given_by('"gcp"')
    )
    overlap: Literal["allow", "skip", "fail"] = attrs.field(
        default="allow",
        validator=values.one_of("allow", "skip", "fail"),
        kw_only=True,
        metadata=_given_by(
            '"allow"',
            "--overlap",
            "HOW",
            "What to do if an earlier run of the name is under way (allow, skip, fail).",
        )
        | _KEPT,
    )

    _needs: Needs = attrs.field(init=False, eq=False, repr=False)

    @_needs.default
    def _needs_of_these(self) -> Needs:
        asked_for = self.report_on.union(*(values.kinds_of(handler) or () for handler in self.handlers))
        every_s = self.progress_every_s
        if every_s is None and _PROGRESS in self.report_on:
            every_s = values.DEFAULT_PROGRESS_EVERY_S
        limits = self.stall_after_s is not None or self.max_duration_s is not None
        has_features = limits or self.capture_logs is not None or self.overlap != "allow"
        return Needs(asked_for & _ANNOUNCED, has_features, every_s)


def needs_of(settings: Settings) -> Needs:
    """Return what a run with these settings needs."""
    return settings._needs  # noqa: SLF001 - of this module, and no attribute that scripts see


def kept_of(settings: Settings) -> dict[str, Any]:
    """Return the settings that the journal and reports keep with a run, without those that have their default."""
    given = ((name, getattr(settings, name), default) for name, default in _kept_settings())
    return {name: value for name, value, default in given if value != default}


def settings_from(arguments: tuple[Any, ...], options: dict[str, Any]) -> Settings:
    """Return the settings that the arguments of a call make.

    Raises:
        ConfigurationError: A setting is unknown (the message suggests a similar one) or a value is wrong.
    """
    if not options:
        return _of_name(*arguments) if arguments and isinstance(arguments[0], str) else Settings(*arguments)
    known = _setting_names()
    for name in options.keys() - known.keys():
        from difflib import get_close_matches

        meant = get_close_matches(name, known, n=1)
        hint = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(known)}"
        raise ConfigurationError(f"there is no setting {name!r}; {hint}")
    if options.get("send", SENT) != SENT:
        options = {"journal": False, **options}
    return Settings(*arguments, **options)


@cache  # each run with settings of its own asks
def _setting_names() -> dict[str, None]:
    """Return the names of all settings in their order."""
    return dict.fromkeys(field.name for field in attrs.fields(Settings) if field.init)


@cache  # each run asks
def _kept_settings() -> tuple[tuple[str, Any], ...]:
    """Return the names and defaults of the settings that are kept with a run."""
    return tuple((field.name, field.default) for field in attrs.fields(Settings) if field.metadata.get("is_kept"))


@lru_cache(maxsize=64)
def _of_name(*arguments: Any) -> Settings:
    """Return the settings that have only a name; cached, since a block in a loop asks for them each time."""
    return Settings(*arguments)

-- The tables of the fleet, and the functions by which machines and containers write to them. Applied once, in the
-- schema "supervisor", by `supervisor fleet migrate`; a published file is never changed, a new one follows it.

-- One row for each machine and user, or container job. role: nobody else may write for it. high_key: it has all runs of
-- the host's journal up to this key. skew_s: how far the host's clock is ahead. missing: how many of its runs were
-- deleted before they were sent.
CREATE TABLE host (
    key int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    role name NOT NULL,
    name text NOT NULL,
    account text NOT NULL DEFAULT '',
    kind text NOT NULL DEFAULT 'machine' CHECK (kind IN ('machine', 'job', 'function')),
    facts jsonb NOT NULL DEFAULT '{}',
    version text NOT NULL DEFAULT '',
    boot text NOT NULL DEFAULT '',
    seen_at timestamptz NOT NULL,
    expect_every_s real,
    skew_s real,
    missing bigint NOT NULL DEFAULT 0,
    high_key bigint NOT NULL DEFAULT 0,
    retired_at timestamptz
);

-- One row for each environment and name: what a list of scripts shows, without reading runs.
CREATE TABLE script (
    key int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    name text NOT NULL,
    title text,
    schedule text,
    timezone text,
    grace_s real,
    max_duration_s real,
    owner text,
    each_host boolean NOT NULL DEFAULT false,
    last_id text,
    last_started_at timestamptz,
    last_ended_at timestamptz,
    last_outcome text,
    last_host int,
    last_success_at timestamptz,
    failed_in_a_row int NOT NULL DEFAULT 0,
    durations real[] NOT NULL DEFAULT '{}',
    next_due_at timestamptz,
    config_from text NOT NULL DEFAULT 'run',
    UNIQUE (environment, name)
);
CREATE INDEX script_due ON script (next_due_at) WHERE next_due_at IS NOT NULL;

CREATE TABLE script_host (
    script int NOT NULL,
    host int NOT NULL,
    last_run text NOT NULL,
    last_outcome text,
    last_started_at timestamptz NOT NULL,
    PRIMARY KEY (script, host)
);

-- born_at: the milliseconds that the id begins with, so that nobody can give one id two places.
CREATE TABLE run (
    id text NOT NULL,
    born_at timestamptz NOT NULL,
    rev smallint NOT NULL,
    script int NOT NULL,
    host int NOT NULL,
    instance text,
    outcome text,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    duration_s real,
    alive_at timestamptz,
    alive_every_s real,
    fingerprint text,
    exit_code int,
    cpu_s real,
    peak_memory_bytes bigint,
    parent_id text,
    more jsonb,
    PRIMARY KEY (id, born_at)
) PARTITION BY RANGE (born_at);
CREATE INDEX run_of_script ON run (script, born_at DESC);
CREATE INDEX run_newest ON run (born_at DESC);
CREATE INDEX run_not_well ON run (born_at DESC) WHERE outcome NOT IN ('success', 'skipped');
CREATE INDEX run_under_way ON run (alive_at) WHERE outcome IS NULL;
CREATE INDEX run_of_host_open ON run (host) WHERE rev < 1000;
CREATE TABLE run_rest PARTITION OF run DEFAULT;

CREATE TABLE run_text (
    id text NOT NULL,
    born_at timestamptz NOT NULL,
    traceback text,
    log_tail text,
    PRIMARY KEY (id, born_at)
) PARTITION BY RANGE (born_at);
CREATE TABLE run_text_rest PARTITION OF run_text DEFAULT;

CREATE TABLE run_day (
    script int NOT NULL,
    host int NOT NULL,
    day date NOT NULL,
    ok int NOT NULL DEFAULT 0,
    bad int NOT NULL DEFAULT 0,
    skipped int NOT NULL DEFAULT 0,
    seconds double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (script, host, day)
);

-- Makes the partitions of a month, unless they are there.
CREATE FUNCTION make_month(p_month date) RETURNS void LANGUAGE plpgsql
SET search_path = supervisor, pg_temp AS $$
DECLARE
    v_table text;
    v_from timestamptz := (date_trunc('month', p_month))::timestamp AT TIME ZONE 'UTC';
    v_until timestamptz := (date_trunc('month', p_month) + interval '1 month')::timestamp AT TIME ZONE 'UTC';
BEGIN
    FOREACH v_table IN ARRAY ARRAY['run', 'run_text'] LOOP
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS supervisor.%I PARTITION OF supervisor.%I FOR VALUES FROM (%L) TO (%L)',
            v_table || to_char(p_month, '_YYYYMM'), v_table, v_from, v_until);
    END LOOP;
END $$;

SELECT make_month(month::date) FROM generate_series(
    date_trunc('month', now() AT TIME ZONE 'UTC') - interval '14 months',
    date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months', interval '1 month') AS month;

-- The instant that an id begins with: 11 hexadecimal digits of milliseconds as runs have them, or 12 of a UUIDv7.
CREATE FUNCTION born_of(p_id text) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT
SET search_path = supervisor, pg_temp AS $$
    SELECT CASE
        WHEN p_id ~ '^[0-9a-f]{21}$' THEN
            to_timestamp(('x' || lpad(substr(p_id, 1, 11), 16, '0'))::bit(64)::bigint / 1000.0)
        WHEN p_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
            to_timestamp(('x' || lpad(substr(replace(p_id, '-', ''), 1, 12), 16, '0'))::bit(64)::bigint / 1000.0)
    END
$$;

-- Notes that a host is there; refuses one of another role.
CREATE FUNCTION seen(p_host jsonb) RETURNS host LANGUAGE plpgsql
SET search_path = supervisor, pg_temp AS $$
DECLARE
    v_host host;
BEGIN
    IF octet_length(p_host::text) > 65536 THEN
        RAISE EXCEPTION 'the document of a host must have at most 64 KB' USING ERRCODE = '54000';
    END IF;
    INSERT INTO host AS h (id, role, name, account, kind, facts, version, boot, seen_at, expect_every_s, skew_s, missing)
    VALUES (
        (p_host ->> 'id')::uuid, session_user, left(coalesce(p_host ->> 'name', ''), 200),
        left(coalesce(p_host ->> 'account', ''), 200), coalesce(p_host ->> 'kind', 'machine'),
        coalesce(p_host -> 'facts', '{}'), left(coalesce(p_host ->> 'version', ''), 50),
        left(coalesce(p_host ->> 'boot', ''), 100), clock_timestamp(), (p_host ->> 'expect_every_s')::real,
        (p_host ->> 'skew_s')::real, coalesce((p_host ->> 'missing')::bigint, 0))
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, account = excluded.account, kind = excluded.kind, facts = excluded.facts,
        version = excluded.version, boot = excluded.boot, seen_at = excluded.seen_at,
        expect_every_s = excluded.expect_every_s, skew_s = coalesce(excluded.skew_s, h.skew_s),
        missing = greatest(excluded.missing, h.missing), retired_at = NULL
    WHERE h.role = session_user
    RETURNING h.* INTO v_host;
    IF v_host.key IS NULL THEN
        RAISE EXCEPTION 'host % belongs to another role', p_host ->> 'id' USING ERRCODE = '42501';
    END IF;
    RETURN v_host;
END $$;

-- Where the database stands with a host: up to which key it has its runs, and which it has that may change yet.
CREATE FUNCTION hello(p_host jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
SET search_path = supervisor, pg_temp AS $$
DECLARE
    v_host host := seen(p_host);
    v_month date;
BEGIN
    FOR v_month IN
        SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month')::date FROM generate_series(0, 1) AS n
    LOOP
        IF to_regclass('supervisor.run_text' || to_char(v_month, '_YYYYMM')) IS NULL THEN
            BEGIN
                PERFORM make_month(v_month);
            EXCEPTION WHEN check_violation OR lock_not_available OR duplicate_table THEN
                NULL;  -- runs of that month are in the default partition already, or another call makes it just now
            END;
        END IF;
    END LOOP;
    RETURN jsonb_build_object(
        'high_key', v_host.high_key, 'now', clock_timestamp(), 'version', (SELECT version FROM meta),
        'min_client', (SELECT min_client FROM meta),
        'open', (SELECT coalesce(jsonb_agg(id), '[]') FROM (
            SELECT id FROM run WHERE host = v_host.key AND rev < 1000 ORDER BY born_at DESC LIMIT 1000) AS open));
END $$;

-- What is wrong with the document of a run; NULL for nothing.
CREATE FUNCTION fault_of(p_run jsonb) RETURNS text LANGUAGE plpgsql
SET search_path = supervisor, pg_temp AS $$
DECLARE
    v_born timestamptz;
BEGIN
    IF jsonb_typeof(p_run) <> 'object' THEN
        RETURN 'it is no object';
    END IF;
    v_born := born_of(p_run ->> 'id');
    RETURN CASE
        WHEN v_born IS NULL THEN 'id must begin with the milliseconds of its start'
        WHEN v_born < now() - interval '400 days' THEN 'it is older than 400 days'
        WHEN v_born > now() + interval '1 day' THEN 'it is of the future: set the clock of the machine right'
        WHEN coalesce(length(p_run ->> 'name'), 0) NOT BETWEEN 1 AND 200 THEN 'name must have 1-200 characters'
        WHEN coalesce(length(p_run ->> 'environment'), 0) NOT BETWEEN 1 AND 200 THEN
            'environment must have 1-200 characters'
        WHEN coalesce((p_run ->> 'rev')::int, 0) NOT BETWEEN 1 AND 1000 THEN 'rev must be 1-1000'
        WHEN p_run ->> 'started_at' IS NULL THEN 'started_at is missing'
        WHEN octet_length((p_run -> 'more')::text) > 65536 THEN 'more must have at most 64 KB'
        WHEN octet_length((p_run -> 'text')::text) > 262144 THEN 'text must have at most 256 KB'
        WHEN octet_length((p_run - 'more' - 'text')::text) > 16384 THEN 'it must have at most 16 KB beside more and text'
    END;
END $$;

-- Takes runs of a host that have no fault; returns how many moved. A revision moves once, and only to a larger one.
CREATE FUNCTION take_runs(p_host int, p_runs jsonb) RETURNS int LANGUAGE plpgsql
SET search_path = supervisor, pg_temp AS $$
DECLARE
    v_moved int;
    v_scripts int[];
BEGIN
    INSERT INTO script (environment, name)
    SELECT DISTINCT given.environment, given.name
    FROM jsonb_to_recordset(p_runs) AS given (environment text, name text)
    WHERE NOT EXISTS (
        SELECT 1 FROM script WHERE script.environment = given.environment AND script.name = given.name)
    ORDER BY 1, 2 ON CONFLICT DO NOTHING;

    WITH given AS MATERIALIZED (
        SELECT DISTINCT ON (given.id) script.key AS script, born_of(given.id) AS born_at, given.*
        FROM jsonb_to_recordset(p_runs) AS given (
            id text, environment text, name text, rev smallint, instance text, outcome text, started_at timestamptz,
            ended_at timestamptz, duration_s real, alive_at timestamptz, alive_every_s real, fingerprint text,
            exit_code bigint, cpu_s real, peak_memory_bytes bigint, parent_id text, more jsonb, text jsonb)
        JOIN script ON script.environment = given.environment AND script.name = given.name
        ORDER BY given.id, given.rev DESC
    ), old AS MATERIALIZED (
        SELECT run.id, run.script, run.outcome, run.started_at, run.duration_s
        FROM run JOIN given ON run.id = given.id AND run.born_at = given.born_at
    ), up AS (
        INSERT INTO run AS t (
            id, born_at, rev, script, host, instance, outcome, started_at, ended_at, duration_s, alive_at, alive_every_s,
            fingerprint, exit_code, cpu_s, peak_memory_bytes, parent_id, more)
        SELECT id, born_at, rev, script, p_host, instance, outcome, started_at, ended_at, duration_s,
            CASE WHEN outcome IS NULL THEN clock_timestamp() END, alive_every_s, fingerprint,
            -- Windows has codes up to 2^32 - 1
            (CASE WHEN exit_code > 2147483647 THEN exit_code - 4294967296 ELSE exit_code END)::int,
            cpu_s, peak_memory_bytes, parent_id, more
        FROM given ORDER BY id
        ON CONFLICT (id, born_at) DO UPDATE SET
            rev = excluded.rev, outcome = excluded.outcome, ended_at = excluded.ended_at,
            duration_s = excluded.duration_s, alive_at = excluded.alive_at, alive_every_s = excluded.alive_every_s,
            fingerprint = excluded.fingerprint, exit_code = excluded.exit_code, cpu_s = excluded.cpu_s,
            peak_memory_bytes = excluded.peak_memory_bytes, more = coalesce(excluded.more, t.more)
        WHERE t.rev < excluded.rev AND t.host = excluded.host
        RETURNING t.id, t.born_at, t.script, t.outcome, t.started_at, t.duration_s
    ), texts AS (
        INSERT INTO run_text AS t (id, born_at, traceback, log_tail)
        SELECT given.id, given.born_at, given.text ->> 'traceback', given.text ->> 'log_tail'
        FROM given JOIN up ON up.id = given.id WHERE given.text IS NOT NULL
        ON CONFLICT (id, born_at) DO UPDATE SET
            traceback = coalesce(excluded.traceback, t.traceback), log_tail = coalesce(excluded.log_tail, t.log_tail)
    ), changed AS (
        SELECT script, outcome, started_at, duration_s, 1 AS sign FROM up WHERE outcome IS NOT NULL
        UNION ALL
        SELECT old.script, old.outcome, old.started_at, old.duration_s, -1
        FROM old JOIN up ON up.id = old.id WHERE old.outcome IS NOT NULL
    ), days AS (
        INSERT INTO run_day AS d (script, host, day, ok, bad, skipped, seconds)
        SELECT script, p_host, (started_at AT TIME ZONE 'UTC')::date,
            coalesce(sum(sign) FILTER (WHERE outcome IN ('success', 'warning')), 0),
            coalesce(sum(sign) FILTER (WHERE outcome NOT IN ('success', 'warning', 'skipped')), 0),
            coalesce(sum(sign) FILTER (WHERE outcome = 'skipped'), 0),
            coalesce(sum(sign * duration_s), 0)
        FROM changed GROUP BY 1, 3 ORDER BY 1, 3
        ON CONFLICT (script, host, day) DO UPDATE SET
            ok = d.ok + excluded.ok, bad = d.bad + excluded.bad, skipped = d.skipped + excluded.skipped,
            seconds = d.seconds + excluded.seconds
    ), pairs AS (
        INSERT INTO script_host AS s (script, host, last_run, last_outcome, last_started_at)
        SELECT DISTINCT ON (script) script, p_host, id, outcome, started_at FROM up ORDER BY script, started_at DESC
        ON CONFLICT (script, host) DO UPDATE SET
            last_run = excluded.last_run, last_outcome = excluded.last_outcome, last_started_at = excluded.last_started_at
        WHERE s.last_started_at <= excluded.last_started_at
    )
    SELECT count(*), array_agg(DISTINCT script ORDER BY script) INTO v_moved, v_scripts FROM up;

    IF v_moved > 0 THEN
        PERFORM follow(v_scripts, p_runs);
    END IF;
    RETURN v_moved;
END $$;

-- Lets the row of each script follow its runs. Made of the runs themselves, it is the same in whatever order they came.
CREATE FUNCTION follow(p_scripts int[], p_runs jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = supervisor, pg_temp AS $$
BEGIN
    PERFORM 1 FROM script WHERE key = ANY (p_scripts) ORDER BY key FOR UPDATE;
    UPDATE script SET
        last_id = newest.id, last_started_at = newest.started_at, last_ended_at = newest.ended_at,
        last_outcome = newest.outcome, last_host = newest.host,
        last_success_at = greatest(script.last_success_at, success.started_at),
        failed_in_a_row = (
            SELECT count(*) FROM run
            WHERE run.script = script.key AND run.born_at > coalesce(success.born_at, '-infinity')
                AND run.outcome IN ('failure', 'terminated', 'died')),
        durations = ARRAY(
            SELECT run.duration_s FROM run
            WHERE run.script = script.key AND run.outcome = 'success' AND run.duration_s IS NOT NULL
            ORDER BY run.born_at DESC LIMIT 20)
    FROM unnest(p_scripts) AS changed (key)
    CROSS JOIN LATERAL (
        SELECT * FROM run WHERE run.script = changed.key ORDER BY born_at DESC, id DESC LIMIT 1) AS newest
    LEFT JOIN LATERAL (
        SELECT born_at, started_at FROM run WHERE run.script = changed.key AND run.outcome IN ('success', 'warning')
        ORDER BY born_at DESC LIMIT 1) AS success ON true
    WHERE script.key = changed.key;
    -- What the newest run says of its schedule; a configuration that was noted is stronger.
    UPDATE script SET
        title = given.title, schedule = given.schedule, timezone = given.timezone, grace_s = given.grace_s,
        max_duration_s = given.max_duration_s, owner = coalesce(given.owner, script.owner),
        each_host = coalesce(given.each_host, false), next_due_at = given.next_due_at
    FROM jsonb_to_recordset(p_runs) AS given (
        id text, title text, schedule text, timezone text, grace_s real, max_duration_s real, owner text,
        each_host boolean, next_due_at timestamptz)
    WHERE script.key = ANY (p_scripts) AND script.last_id = given.id AND script.config_from = 'run';
END $$;

-- Takes runs of a host. host: with "after_key" and "high_key" the database notes that it has all runs up to the latter,
-- if it had all up to the former. One bad document is refused with its reason, the others move.
CREATE FUNCTION put(p_host jsonb, p_runs jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
SET search_path = supervisor, pg_temp AS $$
DECLARE
    v_host host := seen(p_host);  -- locks its row: the calls of one host come one after the other
    v_high bigint := v_host.high_key;
    v_run jsonb;
    v_why text;
    v_good jsonb[] := '{}';
    v_moved int := 0;
    v_refused jsonb[] := '{}';
BEGIN
    IF jsonb_typeof(p_runs) <> 'array' OR jsonb_array_length(p_runs) > 2000 THEN
        RAISE EXCEPTION 'put takes an array of at most 2,000 runs' USING ERRCODE = '54000';
    END IF;
    FOR v_run IN SELECT * FROM jsonb_array_elements(p_runs) LOOP
        BEGIN
            v_why := fault_of(v_run);
        EXCEPTION WHEN data_exception THEN
            v_why := SQLERRM;
        END;
        IF v_why IS NULL THEN
            v_good := v_good || v_run;
        ELSE
            v_refused := v_refused || jsonb_build_object('id', left(v_run ->> 'id', 50), 'why', left(v_why, 300));
        END IF;
    END LOOP;
    IF cardinality(v_good) > 0 THEN
        BEGIN
            v_moved := take_runs(v_host.key, to_jsonb(v_good));
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
            v_moved := 0;
            FOREACH v_run IN ARRAY v_good LOOP  -- one of them has what its column does not hold
                BEGIN
                    v_moved := v_moved + take_runs(v_host.key, jsonb_build_array(v_run));
                EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
                    v_refused := v_refused || jsonb_build_object('id', v_run ->> 'id', 'why', left(SQLERRM, 300));
                END;
            END LOOP;
        END;
    END IF;
    IF (p_host ->> 'high_key')::bigint > v_high AND (p_host ->> 'after_key')::bigint <= v_high THEN
        UPDATE host SET high_key = (p_host ->> 'high_key')::bigint WHERE key = v_host.key
        RETURNING high_key INTO v_high;
    END IF;
    RETURN jsonb_build_object(
        'moved', v_moved, 'high_key', v_high, 'now', clock_timestamp(), 'refused', to_jsonb(v_refused));
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA supervisor FROM PUBLIC;

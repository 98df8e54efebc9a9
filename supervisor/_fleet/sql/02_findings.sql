-- What is wrong in the fleet, and who tells it: starts that were missed, runs that were lost, silent machines, clocks
-- that are wrong. Any number of checkers look at once; none leads, and each finding is told by one of them.

-- born_at: of the run, as its own row has it. Computed by a function in a condition on run, it let PostgreSQL 18.6 crash
-- now and then while it chose partitions (perform_pruning_base_step).
-- state: new, told, over (it must be told that it ended), closed. claimer: the checker that tells it, until then.
CREATE TABLE finding (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('missed', 'lost', 'silent', 'skewed')),
    state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'told', 'over', 'closed')),
    script int,
    host int,
    run_id text,
    born_at timestamptz,
    since timestamptz NOT NULL,
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    told_at timestamptz,
    resolved_at timestamptz,
    facts jsonb NOT NULL DEFAULT '{}',
    claimer uuid,
    claimed_until timestamptz
);
CREATE UNIQUE INDEX finding_open ON finding (kind, coalesce(script, 0), coalesce(host, 0), coalesce(run_id, ''))
    WHERE resolved_at IS NULL;
CREATE INDEX finding_to_tell ON finding (key) WHERE state IN ('new', 'over');

-- Notes what is over. What nobody was told of is closed; a checker that is telling it at this moment opens the end.
CREATE FUNCTION end_findings() RETURNS void LANGUAGE sql
SET search_path = supervisor, pg_temp AS $$
    UPDATE finding SET
        resolved_at = clock_timestamp(), claimer = CASE WHEN state = 'told' THEN NULL ELSE claimer END,
        claimed_until = CASE WHEN state = 'told' THEN NULL ELSE claimed_until END,
        state = CASE WHEN state = 'told' THEN 'over' ELSE 'closed' END
    FROM (
        SELECT f.key FROM finding f JOIN script s ON s.key = f.script
        WHERE f.resolved_at IS NULL AND f.kind = 'missed' AND (s.next_due_at IS NULL OR s.next_due_at > f.since)
        UNION ALL
        SELECT f.key FROM finding f JOIN run r ON r.id = f.run_id AND r.born_at = f.born_at
        WHERE f.resolved_at IS NULL AND f.kind = 'lost' AND r.rev > 100
        UNION ALL
        SELECT f.key FROM finding f JOIN host h ON h.key = f.host
        WHERE f.resolved_at IS NULL AND f.kind = 'silent' AND (
            h.retired_at IS NOT NULL OR h.expect_every_s IS NULL
            OR h.seen_at + 3 * h.expect_every_s * interval '1 second' >= clock_timestamp())
        UNION ALL
        SELECT f.key FROM finding f JOIN host h ON h.key = f.host
        WHERE f.resolved_at IS NULL AND f.kind = 'skewed' AND (abs(h.skew_s) <= 60 OR h.retired_at IS NOT NULL)
    ) AS done
    WHERE finding.key = done.key AND finding.resolved_at IS NULL
$$;

-- Takes the runs of containers without a sign of life for lost, after three times the longest that they were without one
-- before (alive_every_s) and 30 s. An end that comes later has a larger revision, and counts.
CREATE FUNCTION presume_lost() RETURNS void LANGUAGE plpgsql
SET search_path = supervisor, pg_temp AS $$
DECLARE
    v_run record;
BEGIN
    FOR v_run IN
        SELECT run.id, run.born_at, run.host, run.script, run.alive_at, run.more -> 'progress' AS progress,
            to_jsonb(s) || jsonb_build_object(
                'id', run.id, 'rev', 100, 'outcome', 'died', 'started_at', run.started_at, 'instance', run.instance,
                'alive_every_s', run.alive_every_s,
                'duration_s', greatest(0, extract(epoch FROM run.alive_at - run.started_at))) AS document
        FROM run JOIN host ON host.key = run.host JOIN script s ON s.key = run.script
        WHERE run.outcome IS NULL AND run.rev < 100 AND host.kind <> 'machine' AND run.alive_every_s > 0
            AND run.alive_at + (3 * run.alive_every_s + 30) * interval '1 second' < clock_timestamp()
        ORDER BY run.alive_at LIMIT 500
    LOOP
        IF take_runs(v_run.host, jsonb_build_array(v_run.document)) > 0 THEN
            INSERT INTO finding (kind, script, host, run_id, born_at, since, facts)
            VALUES ('lost', v_run.script, v_run.host, v_run.id, v_run.born_at, v_run.alive_at,
                jsonb_strip_nulls(jsonb_build_object('progress', v_run.progress)))
            ON CONFLICT DO NOTHING;
        END IF;
    END LOOP;
END $$;

-- Finds what is wrong now, and what is over. Looking twice, or at once, finds nothing twice.
CREATE FUNCTION look() RETURNS void LANGUAGE plpgsql
SET search_path = supervisor, pg_temp AS $$
BEGIN
    PERFORM end_findings();
    PERFORM presume_lost();
    INSERT INTO finding (kind, host, since)
    SELECT 'silent', key, seen_at FROM host
    WHERE kind = 'machine' AND retired_at IS NULL AND expect_every_s > 0
        AND seen_at + 3 * expect_every_s * interval '1 second' < clock_timestamp()
    ORDER BY key ON CONFLICT DO NOTHING;
    INSERT INTO finding (kind, host, since, facts)
    SELECT 'skewed', key, seen_at, jsonb_build_object('skew_s', skew_s) FROM host
    WHERE retired_at IS NULL AND abs(skew_s) > 60
    ORDER BY key ON CONFLICT DO NOTHING;
    -- One start anywhere fulfils a schedule. A machine sends its starts by its checks: where one has not checked in
    -- since, nobody can tell yet, for as long as it takes to call it silent; then the start is part of that finding.
    INSERT INTO finding (kind, script, host, since)
    SELECT 'missed', s.key, s.last_host, s.next_due_at
    FROM script s CROSS JOIN LATERAL (
        SELECT s.next_due_at + coalesce(s.grace_s, 600) * interval '1 second' AS latest) AS due
    WHERE s.next_due_at < clock_timestamp() AND due.latest < clock_timestamp()
        AND NOT EXISTS (
            SELECT 1 FROM script_host p JOIN host h ON h.key = p.host
            WHERE p.script = s.key AND h.kind = 'machine' AND h.retired_at IS NULL
                AND (h.seen_at < due.latest OR h.seen_at > clock_timestamp() - interval '30 seconds')
                AND clock_timestamp() < due.latest + 3 * coalesce(h.expect_every_s, 1200) * interval '1 second')
        AND NOT (
            EXISTS (SELECT 1 FROM script_host p WHERE p.script = s.key)
            AND NOT EXISTS (
                SELECT 1 FROM script_host p WHERE p.script = s.key AND NOT EXISTS (
                    SELECT 1 FROM finding f
                    WHERE f.kind = 'silent' AND f.host = p.host AND f.resolved_at IS NULL)))
    ORDER BY s.key ON CONFLICT DO NOTHING;
END $$;

-- The scripts that should have started on a machine since, and what was under way there.
CREATE FUNCTION at_host(p_host int) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = supervisor, pg_temp AS $$
    SELECT jsonb_build_object(
        'due', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', name, 'due_at', next_due_at)), '[]') FROM (
            SELECT s.name, s.next_due_at FROM script s JOIN script_host p ON p.script = s.key AND p.host = p_host
            WHERE s.next_due_at < clock_timestamp() ORDER BY s.next_due_at LIMIT 50) AS due),
        'under_way', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', name, 'started_at', started_at)), '[]') FROM (
            SELECT s.name, r.started_at FROM run r JOIN script s ON s.key = r.script
            WHERE r.host = p_host AND r.rev < 100 AND r.outcome IS NULL ORDER BY r.started_at DESC LIMIT 50) AS run))
$$;

-- Looks, and gives a checker what it has to tell of an environment, and of hosts. For ten minutes it is the checker's
-- alone, which gets it again when it asks again; then it goes to whoever asks.
CREATE FUNCTION watch(p_claimer uuid, p_environment text, p_limit int) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = supervisor, pg_temp AS $$
DECLARE
    v_found jsonb;
    v_keys bigint[];
BEGIN
    IF pg_try_advisory_xact_lock(1398096966) THEN  -- whoever looks at this moment takes what it finds
        PERFORM look();
    END IF;
    -- Chosen before they are locked, so that what is looked at again under the lock is one plain row.
    v_keys := ARRAY(
        SELECT f.key FROM finding f LEFT JOIN script s ON s.key = f.script
        WHERE f.state IN ('new', 'over') AND (f.script IS NULL OR s.environment = p_environment)
            AND (f.claimed_until IS NULL OR f.claimed_until < clock_timestamp() OR f.claimer = p_claimer)
        ORDER BY f.key LIMIT least(p_limit, 500));
    WITH mine AS MATERIALIZED (
        SELECT key FROM finding
        WHERE key = ANY (v_keys) AND state IN ('new', 'over')
            AND (claimed_until IS NULL OR claimed_until < clock_timestamp() OR claimer = p_claimer)
        ORDER BY key FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE finding SET claimer = p_claimer, claimed_until = clock_timestamp() + interval '10 minutes'
        FROM mine WHERE finding.key = mine.key RETURNING finding.*
    )
    SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'id', t.id, 'kind', t.kind, 'is_over', t.state = 'over', 'since', t.since, 'run_id', t.run_id,
        'environment', s.environment, 'name', s.name, 'title', s.title, 'schedule', s.schedule, 'grace_s', s.grace_s,
        'timezone', s.timezone, 'last_started_at', s.last_started_at, 'last_outcome', s.last_outcome,
        'run_outcome', (SELECT outcome FROM run WHERE run.id = t.run_id AND run.born_at = t.born_at),
        'host', h.name, 'expect_every_s', h.expect_every_s, 'now', clock_timestamp(),
        'facts', t.facts || CASE WHEN t.kind = 'silent' THEN at_host(t.host) ELSE '{}' END)) ORDER BY t.key), '[]')
    INTO v_found
    FROM taken t LEFT JOIN script s ON s.key = t.script LEFT JOIN host h ON h.key = t.host;
    RETURN v_found;
END $$;

-- Notes that a checker has told findings, or their ends: their messages are in its outbox. Returns how many it was.
CREATE FUNCTION told(p_claimer uuid, p_told jsonb) RETURNS int LANGUAGE sql SECURITY DEFINER
SET search_path = supervisor, pg_temp AS $$
    WITH given AS (
        SELECT id, is_over FROM jsonb_to_recordset(p_told) AS each (id uuid, is_over boolean)
    ), noted AS (
        UPDATE finding SET
            told_at = coalesce(told_at, clock_timestamp()), claimer = NULL, claimed_until = NULL,
            state = CASE WHEN given.is_over THEN 'closed' WHEN resolved_at IS NULL THEN 'told' ELSE 'over' END
        FROM given
        WHERE finding.id = given.id AND claimer = p_claimer AND (
            (given.is_over AND state = 'over') OR (NOT given.is_over AND told_at IS NULL))
        RETURNING 1
    )
    SELECT count(*)::int FROM noted
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA supervisor FROM PUBLIC;

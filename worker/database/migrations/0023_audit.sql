-- What people did. Rows are only added; they go when they are old.

CREATE TABLE carillon.audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The user of the operating system, or of the dashboard, and the host that it was done from.
    who    text NOT NULL,
    host   text NOT NULL,
    act    text NOT NULL,
    app    text,
    -- What it was done to, such as a provider's name.
    target text,
    detail jsonb NOT NULL DEFAULT '{}',
    note   text
);
CREATE INDEX audit_by_act ON carillon.audit (act, id);
CREATE INDEX audit_by_time ON carillon.audit (at);

-- Only the role that migrates, to which the table belongs, may change or delete rows, whatever is granted to others.
CREATE FUNCTION carillon.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RAISE insufficient_privilege USING MESSAGE = format('rows of carillon.%I are only added', TG_TABLE_NAME);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON carillon.audit
    FOR EACH STATEMENT EXECUTE FUNCTION carillon.refuse_change();

-- Deletes rows that are older than a year, and the oldest of an act beyond 10,000: an act that a script repeats pushes out no other.
-- Some rows at a time; returns how many. It has no arguments, so a role that may only add cannot shorten the log with it.
CREATE FUNCTION carillon.forget_acts() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bite CONSTANT integer := 1000;
    gone integer;
    went integer;
    one text := '';
    last bigint;
BEGIN
    DELETE FROM carillon.audit WHERE id IN (
        SELECT id FROM carillon.audit WHERE at < now() - interval '1 year' ORDER BY at LIMIT bite FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS gone = ROW_COUNT;
    LOOP
        one := (SELECT act FROM carillon.audit WHERE act > one ORDER BY act LIMIT 1);
        EXIT WHEN one IS NULL;
        last := (SELECT id FROM carillon.audit WHERE act = one ORDER BY id DESC OFFSET 10000 LIMIT 1);
        CONTINUE WHEN last IS NULL;
        DELETE FROM carillon.audit WHERE id IN (
            SELECT id FROM carillon.audit WHERE act = one AND id <= last ORDER BY id LIMIT bite FOR UPDATE SKIP LOCKED);
        GET DIAGNOSTICS went = ROW_COUNT;
        gone := gone + went;
    END LOOP;
    RETURN gone;
END $$;

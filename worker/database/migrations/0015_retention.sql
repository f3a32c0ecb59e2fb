-- The ledger and the devices' history lie in a table a day, which goes whole when it is old enough. What the release before wrote is
-- the first of them; it covers two more days, in which processes of that release may still be running.

ALTER TABLE carillon.ledger RENAME TO ledger_before;
ALTER TABLE carillon.ledger_before ADD COLUMN day date NOT NULL DEFAULT (now() AT TIME ZONE 'utc')::date;
CREATE TABLE carillon.ledger (LIKE carillon.ledger_before INCLUDING DEFAULTS) PARTITION BY RANGE (day);
-- A repeated part is refused within a day; one that is written again after midnight says the same.
CREATE TABLE carillon.ledger_default PARTITION OF carillon.ledger (PRIMARY KEY (app, event_id, part)) DEFAULT;

-- An identity would go with its table.
ALTER TABLE carillon.device_history ALTER COLUMN id DROP IDENTITY;
CREATE SEQUENCE carillon.device_history_ids;
SELECT setval('carillon.device_history_ids', coalesce((SELECT max(id) FROM carillon.device_history), 0) + 1, false);
ALTER TABLE carillon.device_history ALTER COLUMN id SET DEFAULT nextval('carillon.device_history_ids');
ALTER TABLE carillon.device_history RENAME TO device_history_before;
ALTER TABLE carillon.device_history_before ADD COLUMN day date NOT NULL DEFAULT (now() AT TIME ZONE 'utc')::date;
CREATE TABLE carillon.device_history (LIKE carillon.device_history_before INCLUDING DEFAULTS) PARTITION BY RANGE (day);
ALTER SEQUENCE carillon.device_history_ids OWNED BY carillon.device_history.id;
CREATE TABLE carillon.device_history_default PARTITION OF carillon.device_history DEFAULT;
CREATE INDEX device_history_default_device ON carillon.device_history_default (device, id);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['ledger', 'device_history'] LOOP
        EXECUTE format('ALTER TABLE carillon.%1$I ATTACH PARTITION carillon.%2$I FOR VALUES FROM (MINVALUE) TO (%3$L)',
            name, name || '_before', (now() AT TIME ZONE 'utc')::date + 2);
    END LOOP;
END
$$;

-- The tables of a partitioned one, but for the default, each with the day that it ends before.
CREATE FUNCTION carillon.days_of(parent regclass) RETURNS TABLE (part name, ends date) LANGUAGE sql STABLE AS $$
    SELECT c.relname, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([-0-9]+)''\)')::date
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = parent AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
$$;

-- Makes the tables of the next days, and drops the oldest one that ends `keep` days before `today`. Returns whether it dropped one.
-- It belongs to who migrates, for only the owner of a table may do so; whoever may delete the rows may call it.
CREATE FUNCTION carillon.keep_days(name text, keep integer, today date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent regclass := format('carillon.%I', name)::regclass;
    first date;
    part text;
BEGIN
    IF name NOT IN ('ledger', 'device_history') OR NOT has_table_privilege(session_user, parent, 'DELETE') THEN
        RAISE insufficient_privilege USING MESSAGE = 'whoever may not delete the rows may not drop their days';
    END IF;
    IF NOT pg_try_advisory_xact_lock(1667330676, parent::oid::integer) THEN
        RETURN false;
    END IF;
    -- Others wait behind who waits for a lock: rather try again later.
    PERFORM set_config('lock_timeout', '500ms', true);
    SELECT greatest(max(ends), today) INTO first FROM carillon.days_of(parent);
    FOR ahead IN 0 .. today + 7 - first LOOP
        part := format('%s_%s', name, to_char(first + ahead, 'YYYYMMDD'));
        BEGIN
            EXECUTE format('CREATE TABLE carillon.%I (LIKE carillon.%I INCLUDING DEFAULTS)', part, name);
            IF name = 'ledger' THEN
                EXECUTE format('ALTER TABLE carillon.%I ADD PRIMARY KEY (app, event_id, part)', part);
            ELSE
                EXECUTE format('CREATE INDEX ON carillon.%I (device, id)', part);
            END IF;
            EXECUTE format('ALTER TABLE carillon.%I ATTACH PARTITION carillon.%I FOR VALUES FROM (%L) TO (%L)',
                name, part, first + ahead, first + ahead + 1);
        EXCEPTION WHEN check_violation OR lock_not_available THEN
            NULL;  -- rows of that day are in the default table already, or it is busy
        END;
    END LOOP;
    EXECUTE format('DELETE FROM carillon.%1$I WHERE ctid = ANY(ARRAY('
        'SELECT ctid FROM carillon.%1$I WHERE day < $1 LIMIT 10000))', name || '_default') USING today - keep;
    SELECT d.part INTO part FROM carillon.days_of(parent) d WHERE d.ends <= today - keep ORDER BY d.ends LIMIT 1;
    IF part IS NOT NULL THEN
        EXECUTE format('DROP TABLE carillon.%I', part);
    END IF;
    RETURN part IS NOT NULL;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;

SELECT carillon.keep_days(name, 10000, (now() AT TIME ZONE 'utc')::date) FROM unnest(ARRAY['ledger', 'device_history']) AS name;

-- The oldest messages are found without a look at the others, however many pages were filled and emptied before.
DROP INDEX carillon.messages_age;
CREATE INDEX messages_age ON carillon.messages (seen_at);

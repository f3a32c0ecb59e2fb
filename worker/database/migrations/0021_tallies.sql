-- Counters that the fleet shares, each counted once, whatever process dies whenever.

CREATE TABLE carillon.tallies (
    -- '': of documents that name no app that there is.
    app        text COLLATE "C" NOT NULL,
    -- 0: of the app itself.
    provider   integer NOT NULL,
    -- Who writes the row: `ledger` (what the journal passes on), `intake` (the leader), `devices` (the trigger below). Each waits for
    -- no other.
    source     text COLLATE "C" NOT NULL,
    -- Name -> total since the row was made.
    totals     jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, provider, source)
) WITH (fillfactor = 50);

-- The last tally that was counted. The journal forgets tallies after the commit: whoever reads them again, because a process died in
-- between, goes on behind this one.
CREATE TABLE carillon.tallied (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    last text NOT NULL
);
INSERT INTO carillon.tallied (last) VALUES ('');

-- Each line of the devices' history is counted as `devices.<what>`, whoever writes it. All of them hold the lock of devices.
CREATE FUNCTION carillon.count_devices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO carillon.tallies AS t (app, provider, source, totals)
    SELECT app, 0, 'devices', jsonb_object_agg('devices.' || what, n)
    FROM (
        SELECT d.app, l.what, count(*) AS n FROM lines l JOIN carillon.devices d ON d.id = l.device GROUP BY 1, 2
    ) AS counted
    GROUP BY app ORDER BY app
    ON CONFLICT (app, provider, source) DO UPDATE SET changed_at = now(), totals = t.totals || (
        SELECT jsonb_object_agg(key, value::bigint + coalesce((t.totals ->> key)::bigint, 0)) FROM jsonb_each_text(excluded.totals)
    );
    RETURN NULL;
END $$;
CREATE TRIGGER count_devices AFTER INSERT ON carillon.device_history REFERENCING NEW TABLE AS lines
    FOR EACH STATEMENT EXECUTE FUNCTION carillon.count_devices();

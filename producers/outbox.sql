-- The outbox of Carillon: an event written here is published if and only if the transaction that wrote it commits.
-- Running this twice does no harm. Writers need: USAGE on schema carillon, INSERT (event) on carillon.outbox.

CREATE SCHEMA IF NOT EXISTS carillon;

CREATE TABLE IF NOT EXISTS carillon.outbox (
    -- No CACHE: an event written after another was committed must have a higher id than that one.
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The document of the contract. Text, so that a bad one fails in the relay and never in the writer; a jsonb value
    -- may be inserted as it is.
    event      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Set where rows are kept for a while after they were moved to the stream.
    moved_at   timestamptz,
    -- Set together where the document breaks the contract; both NULL again: the relay tries it anew.
    failed_at  timestamptz,
    error      text
);

CREATE INDEX IF NOT EXISTS outbox_waiting ON carillon.outbox (id) WHERE moved_at IS NULL AND failed_at IS NULL;
CREATE INDEX IF NOT EXISTS outbox_failed ON carillon.outbox (failed_at) WHERE failed_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS outbox_moved ON carillon.outbox (moved_at) WHERE moved_at IS NOT NULL;

-- Rows live for milliseconds: clean up after a number of them, not after a share of the table.
ALTER TABLE carillon.outbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0
);

-- Wakes the relay at commit. Without it the relay still looks every second.
CREATE OR REPLACE FUNCTION carillon.outbox_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('carillon_outbox', '');
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER outbox_notify AFTER INSERT ON carillon.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION carillon.outbox_notify();

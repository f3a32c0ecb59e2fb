-- The outbox in our own database. producers/outbox.sql is the same for a chat server's database; a test compares what they make.

CREATE TABLE carillon.outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    moved_at   timestamptz,
    failed_at  timestamptz,
    error      text
);

CREATE INDEX outbox_waiting ON carillon.outbox (id) WHERE moved_at IS NULL AND failed_at IS NULL;
CREATE INDEX outbox_failed ON carillon.outbox (failed_at) WHERE failed_at IS NOT NULL;
CREATE INDEX outbox_moved ON carillon.outbox (moved_at) WHERE moved_at IS NOT NULL;

ALTER TABLE carillon.outbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0
);

CREATE FUNCTION carillon.outbox_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('carillon_outbox', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER outbox_notify AFTER INSERT ON carillon.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION carillon.outbox_notify();

-- What one process of the fleet does at a time. The owner of a lease checks `token` in each of its transactions: it grows with
-- every owner, so that one who was replaced without knowing it commits nothing more. `until` says when another may take it.
CREATE TABLE carillon.lease (
    name  text PRIMARY KEY,
    owner text,
    token bigint NOT NULL DEFAULT 0,
    since timestamptz,
    until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO carillon.lease (name) VALUES ('intake');

-- Up to which entry the intake has applied a stream. Moves by compare-and-set, in the transaction that applies.
CREATE TABLE carillon.cursors (
    stream   text PRIMARY KEY,
    cursor   text NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now()
);

-- Leaders of the release before move their cursor here, and know of no lease. The first leader of this release takes the cursor
-- over and writes 'taken over' in its place; from then on they can neither read a cursor nor move it.
INSERT INTO carillon.intake (stream, cursor) VALUES ('carillon:events', '0-0') ON CONFLICT DO NOTHING;
CREATE FUNCTION carillon.refuse_older_leader() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a newer release of Carillon leads the intake: this worker is to be replaced' USING ERRCODE = '57P03';
END $$;
CREATE TRIGGER taken_over BEFORE UPDATE ON carillon.intake
    FOR EACH ROW WHEN (OLD.cursor = 'taken over') EXECUTE FUNCTION carillon.refuse_older_leader();

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

-- Which apps changed, their providers and templates included. Workers read what is newer than what they know, each second. The row
-- '' is the counter: whoever changes something holds it until the commit, so versions become visible in their order.
CREATE TABLE carillon.registry_changes (
    app     text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL
);
CREATE INDEX registry_changes_version ON carillon.registry_changes (version);
INSERT INTO carillon.registry_changes (app, version) VALUES ('', 0);

CREATE FUNCTION carillon.note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    apps text[];
    latest bigint;
BEGIN
    EXECUTE format('SELECT array_agg(DISTINCT app) FROM (%s) AS c (app)', TG_ARGV[0]) INTO apps;
    IF apps IS NOT NULL THEN
        UPDATE carillon.registry_changes SET version = version + 1 WHERE app = '' RETURNING version INTO latest;
        INSERT INTO carillon.registry_changes (app, version) SELECT unnest(apps), latest
        ON CONFLICT (app) DO UPDATE SET version = excluded.version;
    END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE
    event text;
    source text[];
BEGIN
    FOREACH event IN ARRAY ARRAY['INSERT', 'UPDATE', 'DELETE'] LOOP
        FOREACH source SLICE 1 IN ARRAY ARRAY[
            ['apps', 'SELECT name FROM changed'],
            ['providers', 'SELECT app FROM changed'],
            ['templates', 'SELECT p.app FROM changed JOIN carillon.providers p ON p.id = provider_id']
        ] LOOP
            EXECUTE format(
                'CREATE TRIGGER %I AFTER %s ON carillon.%I REFERENCING %s TABLE AS changed'
                ' FOR EACH STATEMENT EXECUTE FUNCTION carillon.note_change(%L)',
                'note_' || lower(event), event, source[1], CASE event WHEN 'DELETE' THEN 'OLD' ELSE 'NEW' END, source[2]
            );
        END LOOP;
    END LOOP;
END $$;

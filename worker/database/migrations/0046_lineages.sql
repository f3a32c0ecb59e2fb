-- Whose data the server of each partition's streams has, by its inlet. A failover gives it another lineage, and may lose what was
-- recorded shortly before.
CREATE TABLE carillon.lineages (
    stream  text COLLATE "C" PRIMARY KEY,
    lineage text        NOT NULL,
    -- What was recorded before may have its entry under another name.
    first   timestamptz NOT NULL DEFAULT now(),
    -- When a leader saw it first; NULL: there was no other before.
    since   timestamptz
);

-- The layout of the partitions, as it stands in Redis, which may come back empty or from an older copy.
CREATE TABLE carillon.layout (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    document text        NOT NULL,
    kept_at  timestamptz NOT NULL DEFAULT now()
);

-- When the outcomes of a ledger entry were so, and by which provider: the push log is read by time. Entries of the release before have
-- neither.

ALTER TABLE carillon.ledger
    -- UNIX milliseconds; 0: not known, it was some time before `at`.
    ADD COLUMN moment   bigint  NOT NULL DEFAULT 0,
    -- Of a batch: its provider, and the milliseconds until all of its answers had come.
    ADD COLUMN provider integer NOT NULL DEFAULT 0,
    ADD COLUMN took     integer NOT NULL DEFAULT 0;
CREATE INDEX ledger_at ON carillon.ledger (at);
-- The index by time has made this one needless.
DROP INDEX IF EXISTS carillon.ledger_age;

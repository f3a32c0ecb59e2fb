-- What needed somebody, and when: a row for each condition that began.

CREATE TABLE carillon.incidents (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text NOT NULL,
    -- '': it is about no app, no provider, no origin of one, no lane, worker or stream.
    app      text NOT NULL DEFAULT '',
    provider text NOT NULL DEFAULT '',
    origin   text NOT NULL DEFAULT '',
    place    text NOT NULL DEFAULT '',
    -- The worst that it was.
    severity text NOT NULL,
    what     text NOT NULL,
    began    timestamptz NOT NULL,
    -- NULL: it lasts.
    ended    timestamptz,
    -- The most notifications that waited for it at once.
    waited   bigint NOT NULL DEFAULT 0,
    -- Of a provider's: its notifications that were too old to be sent, until it began and while it lasted.
    expired  bigint,
    lost     bigint,
    -- Who ended it, as user@host; NULL: it ended by itself, or nobody knows.
    ended_by text
);
-- One of the same name and place at a time.
CREATE UNIQUE INDEX incidents_lasting ON carillon.incidents (name, app, provider, origin, place) WHERE ended IS NULL;
CREATE INDEX incidents_by_end ON carillon.incidents (ended);

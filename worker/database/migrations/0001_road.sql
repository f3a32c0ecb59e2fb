-- Everything one message needs on its road. Ids compare by bytes (COLLATE "C"): keyset pages have one order everywhere.

CREATE TABLE carillon.apps (
    name           text COLLATE "C" PRIMARY KEY,
    push_enabled   boolean NOT NULL DEFAULT true,
    member_cap     integer DEFAULT 100 CHECK (member_cap > 0),
    device_cap     integer NOT NULL DEFAULT 25 CHECK (device_cap > 0),
    push_to_online boolean NOT NULL DEFAULT false,
    max_age        integer NOT NULL DEFAULT 3600 CHECK (max_age > 0),
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE carillon.providers (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app         text COLLATE "C" NOT NULL REFERENCES carillon.apps (name),
    name        text COLLATE "C" NOT NULL,
    environment text NOT NULL CHECK (environment IN ('production', 'sandbox')),
    topic       text NOT NULL,
    team_id     text NOT NULL,
    key_id      text NOT NULL,
    -- The .p8, encrypted with CARILLON_SECRET_KEYS.
    credential  bytea NOT NULL,
    host        text NOT NULL,
    port        integer NOT NULL,
    ca          text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (app, name)
);

CREATE TABLE carillon.devices (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app            text COLLATE "C" NOT NULL,
    token          text COLLATE "C" NOT NULL,
    -- Who registered last, by the registrations' own times; rings only while active.
    user_id        text COLLATE "C",
    provider_id    integer,
    locale         text,
    attributes     jsonb,
    registered_at  bigint NOT NULL,
    active         boolean NOT NULL,
    -- Unregistrations at or after registered_at: user ('' for whoever owns it) -> ms. They decide about writes still to come.
    tombstones     jsonb,
    retired_reason text,
    retired_at     timestamptz,
    UNIQUE (app, token)
);
CREATE INDEX devices_owner ON carillon.devices (app, user_id) WHERE active;

CREATE TABLE carillon.channels (
    app       text COLLATE "C" NOT NULL,
    id        text COLLATE "C" NOT NULL,
    name      text,
    name_at   bigint NOT NULL DEFAULT 0,
    push      boolean NOT NULL DEFAULT true,
    push_at   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (app, id)
);

CREATE TABLE carillon.members (
    app     text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    at      bigint NOT NULL,
    -- false: removed; the row stays as the memory of when.
    present boolean NOT NULL,
    PRIMARY KEY (app, channel, user_id)
);

CREATE TABLE carillon.mutes (
    app     text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    target  text COLLATE "C" NOT NULL,
    at      bigint NOT NULL,
    muted   boolean NOT NULL,
    PRIMARY KEY (app, user_id, target)
);

-- One row a message: refuses a repeated event id, and remembers who takes part in a thread that may come.
CREATE TABLE carillon.messages (
    app        text COLLATE "C" NOT NULL,
    event_id   text COLLATE "C" NOT NULL,
    -- Its place in the stream, see worker/core/position.py.
    position   bigint NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    channel    text COLLATE "C" NOT NULL,
    sender     text COLLATE "C" NOT NULL,
    mentioned  text[],
    seen_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, event_id)
);
CREATE INDEX messages_id ON carillon.messages (app, message_id);
CREATE INDEX messages_age ON carillon.messages USING brin (seen_at);

CREATE TABLE carillon.thread_participants (
    app     text COLLATE "C" NOT NULL,
    -- The root message's id.
    thread  text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    -- Place in the stream of the message that made them part of it: an earlier message is not for them.
    since   bigint NOT NULL,
    PRIMARY KEY (app, thread, user_id)
);

-- Where intake stands in the stream; moves in the transaction that applies what it passed.
CREATE TABLE carillon.intake (
    stream text PRIMARY KEY,
    cursor text NOT NULL
);

-- What became of every member: one row for each expanded page and for each delivered batch of an event.
CREATE TABLE carillon.ledger (
    app      text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    part     text COLLATE "C" NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    -- pages: {"considered": n, "pushed": [users], "skipped": {reason: [users]}, "rest": {reason: n}}
    -- batches: {outcome: [[user, device id], ...]}
    account  jsonb NOT NULL,
    PRIMARY KEY (app, event_id, part)
);
CREATE INDEX ledger_age ON carillon.ledger USING brin (at);

CREATE TABLE carillon.dead_letters (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry    text NOT NULL UNIQUE,
    at       timestamptz NOT NULL DEFAULT now(),
    app      text,
    event_id text,
    error    text NOT NULL,
    document bytea NOT NULL
);

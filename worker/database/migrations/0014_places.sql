-- Members, mutes and channel settings as they stood at a message's place. A row keeps the place of its last change; what it was
-- before stands in a side table for a day, so that most expansions join with nothing. Old rows are from before every place.

ALTER TABLE carillon.members
    ADD COLUMN since      bigint NOT NULL DEFAULT 0,
    -- The day (UTC) of the last change: a removed row goes some time after it.
    ADD COLUMN changed_on date NOT NULL DEFAULT (now() AT TIME ZONE 'utc')::date;
CREATE INDEX members_removed ON carillon.members (changed_on) WHERE NOT present;

-- Who was a member from one place up to another.
CREATE TABLE carillon.member_past (
    app      text COLLATE "C" NOT NULL,
    channel  text COLLATE "C" NOT NULL,
    user_id  text COLLATE "C" NOT NULL,
    since    bigint NOT NULL,
    until    bigint NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, channel, user_id, until)
);
CREATE INDEX member_past_age ON carillon.member_past (ended_at);

ALTER TABLE carillon.mutes
    ADD COLUMN since      bigint NOT NULL DEFAULT 0,
    ADD COLUMN changed_on date NOT NULL DEFAULT (now() AT TIME ZONE 'utc')::date;
CREATE INDEX mutes_ended ON carillon.mutes (changed_on) WHERE NOT muted;

CREATE TABLE carillon.mute_past (
    app      text COLLATE "C" NOT NULL,
    user_id  text COLLATE "C" NOT NULL,
    target   text COLLATE "C" NOT NULL,
    since    bigint NOT NULL,
    until    bigint NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, target, user_id, until)
);
CREATE INDEX mute_past_age ON carillon.mute_past (ended_at);

ALTER TABLE carillon.channels
    -- Since when the channel is known at all, and since when its name and switch are what they are.
    ADD COLUMN created bigint NOT NULL DEFAULT 0,
    ADD COLUMN since   bigint NOT NULL DEFAULT 0;

-- What a channel's name and switch were up to a place.
CREATE TABLE carillon.channel_past (
    app      text COLLATE "C" NOT NULL,
    id       text COLLATE "C" NOT NULL,
    name     text,
    push     boolean NOT NULL,
    until    bigint NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, id, until)
);
CREATE INDEX channel_past_age ON carillon.channel_past (ended_at);

-- How loud something is for a user: one row for everything, for each channel and for each thread that they said something about.
-- Of a channel the same, for members who have chosen nothing.

CREATE TABLE carillon.preferences (
    app         text COLLATE "C" NOT NULL,
    user_id     text COLLATE "C" NOT NULL,
    -- '': everything; and then the thread's root message, '': all of the channel.
    channel     text COLLATE "C" NOT NULL,
    thread      text COLLATE "C" NOT NULL,
    -- The time of the event that it is from, in microseconds, and its place in the order of intake.
    at          bigint NOT NULL,
    place       bigint NOT NULL,
    level       text,
    switches    jsonb NOT NULL DEFAULT '{}',
    following   boolean,
    muted_until double precision,
    muted_level text NOT NULL DEFAULT 'none',
    keywords    text[],
    enabled     boolean NOT NULL DEFAULT true,
    privacy     text,
    -- The day since which it says nothing; NULL: it says something.
    silent_on   date,
    PRIMARY KEY (app, user_id, channel, thread)
);

CREATE INDEX preferences_silent ON carillon.preferences (silent_on) WHERE silent_on IS NOT NULL;
-- Who follows a thread by hand, and who chose to hear all of a channel.
CREATE INDEX preferences_first ON carillon.preferences (app, channel, thread) WHERE following OR (thread = '' AND level = 'all');

ALTER TABLE carillon.channels
    ADD COLUMN level      text,
    ADD COLUMN level_at   bigint NOT NULL DEFAULT 0,
    ADD COLUMN kind       text,
    ADD COLUMN kind_at    bigint NOT NULL DEFAULT 0,
    ADD COLUMN privacy    text,
    ADD COLUMN privacy_at bigint NOT NULL DEFAULT 0;

ALTER TABLE carillon.channel_past
    ADD COLUMN level   text,
    ADD COLUMN kind    text,
    ADD COLUMN privacy text;

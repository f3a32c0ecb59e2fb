-- Threads by channel, because a message id need be unique within its channel only. A row a thread bounds who takes part in it,
-- and says when it is over. Rows of the release before stand under the channel ''.

CREATE TABLE carillon.threads (
    app       text COLLATE "C" NOT NULL,
    channel   text COLLATE "C" NOT NULL,
    -- The root message's id.
    id        text COLLATE "C" NOT NULL,
    -- Whether the root was recorded. Until then nobody knows who took part before the first reply.
    root_seen boolean NOT NULL,
    -- Its rows in thread_participants.
    people    integer NOT NULL DEFAULT 0,
    -- The day (UTC) of its last reply.
    day       date NOT NULL,
    PRIMARY KEY (app, channel, id)
);
CREATE INDEX threads_day ON carillon.threads (day);

ALTER TABLE carillon.thread_participants ADD COLUMN channel text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE carillon.thread_participants
    DROP CONSTRAINT thread_participants_pkey,
    ADD PRIMARY KEY (app, thread, channel, user_id);
INSERT INTO carillon.threads (app, channel, id, root_seen, people, day)
SELECT app, '', thread, true, count(*), (now() AT TIME ZONE 'utc')::date FROM carillon.thread_participants GROUP BY app, thread;

CREATE INDEX messages_root ON carillon.messages (app, message_id, channel);
DROP INDEX carillon.messages_id;

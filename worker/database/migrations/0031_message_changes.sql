-- How messages were changed since they were written: the latest edit, or the deletion.

CREATE TABLE carillon.message_changes (
    app        text COLLATE "C" NOT NULL,
    channel    text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    -- Microseconds: the event's own time.
    at         bigint  NOT NULL,
    place      bigint  NOT NULL,
    deleted    boolean NOT NULL,
    -- Whether the message was recorded by then.
    known      boolean NOT NULL,
    -- Milliseconds: the message's own time; 0: not known.
    written    bigint  NOT NULL,
    -- The `message.updated` of the latest edit; NULL for a deletion.
    document   text,
    -- What `core/edits.py` makes of its text and mentions.
    content    text    NOT NULL,
    -- Users whom an edit named first -> the place of that edit.
    named      jsonb   NOT NULL,
    changed_on date    NOT NULL DEFAULT (now() AT TIME ZONE 'utc')::date,
    PRIMARY KEY (app, channel, message_id)
);
CREATE INDEX message_changes_age ON carillon.message_changes (deleted, changed_on);

-- Milliseconds: the message's own time. The release before leaves it at 0.
ALTER TABLE carillon.messages ADD COLUMN written bigint NOT NULL DEFAULT 0;

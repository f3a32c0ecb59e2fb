-- When a user wants no notification: one row a user, the latest write.

CREATE TABLE carillon.quiet (
    app     text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    -- The write's own time in microseconds, and its place in the order of intake.
    at      bigint NOT NULL,
    place   bigint NOT NULL,
    -- `worker/facts/quiet.py`, `Row`.
    setting jsonb NOT NULL,
    -- Without windows: the day (UTC) on which it was written, or its pause ends. All that it says then is against the app's default.
    over_on date,
    PRIMARY KEY (app, user_id)
);
CREATE INDEX quiet_over ON carillon.quiet (over_on) WHERE over_on IS NOT NULL;

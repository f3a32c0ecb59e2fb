ALTER TABLE carillon.apps
    -- Pushes a second for the messages of one channel.
    ADD COLUMN channel_rate double precision CHECK (channel_rate > 0);

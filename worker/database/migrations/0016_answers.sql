-- Writes about a device win by the microsecond: what is finer than registered_at's millisecond.

ALTER TABLE carillon.devices
    ADD COLUMN registered_us smallint NOT NULL DEFAULT 0;

-- A message that is published once more under its id does nothing; `carillon why` tells how often that was.
ALTER TABLE carillon.messages
    ADD COLUMN repeats     integer NOT NULL DEFAULT 0,
    ADD COLUMN repeated_at timestamptz;

CREATE INDEX dead_letters_event ON carillon.dead_letters (app, event_id);

-- Writes about a device win by the microsecond: what is finer than registered_at's millisecond.

ALTER TABLE carillon.devices
    ADD COLUMN registered_us smallint NOT NULL DEFAULT 0;

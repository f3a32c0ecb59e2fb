-- What an app says of the device that it runs on, and with which keys it opens what is sealed for it.

ALTER TABLE carillon.devices
    -- An object of `accepts`, `privacy` and `key` (the id of the keys); NULL for nothing. One column, because each expansion reads it.
    ADD COLUMN traits jsonb,
    -- Sealed; '' for none, and for keys of a scheme that nobody here knows. `worker/database/device_secrets.py`
    ADD COLUMN keys   text NOT NULL DEFAULT '';

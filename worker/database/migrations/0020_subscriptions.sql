-- Devices of every platform. `token` is what a device is found by, in an index that has room for some 2,700 octets: of a token of more
-- than 512 characters it is a hash, and the token is in `long_token`.

ALTER TABLE carillon.devices
    ADD COLUMN long_token text COLLATE "C",
    -- '' where nobody said.
    ADD COLUMN platform   text NOT NULL DEFAULT '',
    -- Sealed; '' for none. `worker/database/device_secrets.py`
    ADD COLUMN secret     text NOT NULL DEFAULT '';

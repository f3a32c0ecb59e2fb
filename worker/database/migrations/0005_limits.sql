-- Limits of an app. NULL: none.

ALTER TABLE carillon.apps
    -- Pushes a second, for the app and for each of its providers.
    ADD COLUMN push_rate     double precision CHECK (push_rate > 0),
    ADD COLUMN provider_rate double precision CHECK (provider_rate > 0),
    -- Pushes a minute to one device.
    ADD COLUMN device_rate   double precision CHECK (device_rate > 0),
    -- Messages of one channel within fold_window seconds after which a device gets one notification with their number.
    ADD COLUMN fold_after    integer CHECK (fold_after > 0),
    ADD COLUMN fold_window   integer NOT NULL DEFAULT 60 CHECK (fold_window > 0);

-- Devices: what a late write has still to know, quarantine with its undo, history, queries over attributes, rate limits.

ALTER TABLE carillon.apps
    -- Registrations a second, and at once; NULL: no limit.
    ADD COLUMN registration_rate  integer DEFAULT 200 CHECK (registration_rate > 0),
    ADD COLUMN registration_burst integer NOT NULL DEFAULT 10000 CHECK (registration_burst > 0),
    -- Days without a registration or an accepted push after which a device is retired; NULL: never.
    ADD COLUMN stale_days         integer CHECK (stale_days > 0);

ALTER TABLE carillon.devices
    ADD COLUMN app_version text,
    -- provider id -> ms up to which it has no use for the token. Decides about registrations still to come.
    ADD COLUMN refusals    jsonb,
    -- Marks of the last writes, by which the repeat of a write is told from another one of the same time.
    ADD COLUMN seen        bigint[],
    -- Since when a 410 is not believed because most devices got one.
    ADD COLUMN doubted_at  timestamptz,
    ADD COLUMN changed_at  timestamptz NOT NULL DEFAULT now();

-- jsonb_ops: it answers equality, "in" and "exists".
CREATE INDEX devices_attributes ON carillon.devices USING gin (attributes) WHERE active;

-- Apart from the devices, so that a push accepted writes no wide row and waits for no registration.
CREATE TABLE carillon.device_use (
    device   bigint PRIMARY KEY,
    -- The last day (UTC) on which a push was accepted.
    accepted date NOT NULL
);

-- What happened to a device: only what changed something, not every repeated registration.
CREATE TABLE carillon.device_history (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device  bigint NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    what    text NOT NULL,
    user_id text COLLATE "C",
    detail  text
);
CREATE INDEX device_history_device ON carillon.device_history (device, id);
CREATE INDEX device_history_age ON carillon.device_history USING brin (at);

-- Each app's token bucket of registrations. Moves in the transaction that applies what it counted.
CREATE TABLE carillon.registration_buckets (
    app    text COLLATE "C" PRIMARY KEY,
    -- Tokens left at `at`, ms since the epoch by the stream's own clock.
    tokens double precision NOT NULL,
    at     bigint NOT NULL
);

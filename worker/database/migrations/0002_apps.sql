-- Apps that change while workers run: two kinds of credentials, providers that can go, templates.

ALTER TABLE carillon.apps
    -- Keeps a few recent messages in Redis, for `carillon push test`.
    ADD COLUMN keep_recent boolean NOT NULL DEFAULT true;

ALTER TABLE carillon.providers
    -- What `credential` holds, encrypted: 'key' a .p8, 'certificate' a .p12, whose password is encrypted beside it.
    ADD COLUMN kind       text NOT NULL DEFAULT 'key' CHECK (kind IN ('key', 'certificate')),
    ADD COLUMN password   bytea,
    -- Set: gone, its credential wiped. The row stays, so that the same name later means the same devices.
    ADD COLUMN removed_at timestamptz;

CREATE TABLE carillon.templates (
    provider_id integer NOT NULL REFERENCES carillon.providers (id),
    -- The message's kind; '' for every kind without a template of its own.
    kind        text COLLATE "C" NOT NULL,
    -- Lower case, 'fr-ca'; '' for whoever has no better one.
    locale      text COLLATE "C" NOT NULL,
    -- JSON as it was uploaded.
    document    text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider_id, kind, locale)
);

-- A provider may be the company's own API: 'webhook', whose `credential` is the secrets that sign its batches, encrypted.

ALTER TABLE carillon.providers
    DROP CONSTRAINT providers_kind_check,
    ADD CONSTRAINT providers_kind_check CHECK (kind IN ('key', 'certificate', 'webhook')),
    ADD COLUMN url     text NOT NULL DEFAULT '',
    ADD COLUMN signing text NOT NULL DEFAULT 'hmac' CHECK (signing IN ('hmac', 'jwt'));

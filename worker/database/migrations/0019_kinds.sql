-- Which kinds of providers there are, a release says (`worker/providers/`). What a kind keeps in clear, and has no column for, is in
-- `settings`; its secrets are in `credential` and `password`, encrypted.

ALTER TABLE carillon.providers
    DROP CONSTRAINT providers_kind_check,
    ADD COLUMN settings jsonb NOT NULL DEFAULT '{}';

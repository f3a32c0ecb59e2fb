-- What an app chooses about attention: worker/core/attention.py. A field that is missing has its default.

ALTER TABLE carillon.apps ADD COLUMN attention jsonb NOT NULL DEFAULT '{}';

-- One installation of an app may have several tokens: for alerts, calls (VoIP), Live Activities, and push to talk.

ALTER TABLE carillon.devices
    -- alert, voip, activity, activity-start, ptt: see worker/core/purposes.py.
    ADD COLUMN purpose      text NOT NULL DEFAULT 'alert',
    -- The tokens with the same id are of one phone; '' where nobody said.
    ADD COLUMN installation text COLLATE "C" NOT NULL DEFAULT '',
    -- Of which Live Activity it is; '' for every other purpose.
    ADD COLUMN activity     text COLLATE "C" NOT NULL DEFAULT '';

CREATE INDEX devices_activity ON carillon.devices (app, activity) WHERE active AND activity <> '';

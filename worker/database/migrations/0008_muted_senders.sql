-- Whether anybody muted a sender is asked for every message, before who of its members did.

CREATE INDEX mutes_target ON carillon.mutes (app, target) WHERE muted;

-- Whose counters Prometheus gets under the app's own name: worker/core/named_apps.py.

CREATE TABLE carillon.named_apps (
    app       text COLLATE "C" PRIMARY KEY,
    named     boolean NOT NULL,
    -- What it had done in all when that was last looked at, what of it in the last hour or so, and when that was (UNIX seconds).
    seen      double precision NOT NULL,
    recent    double precision NOT NULL,
    looked_at double precision NOT NULL,
    -- Provider -> counter -> what of it is counted on the other side.
    rest      jsonb NOT NULL
);

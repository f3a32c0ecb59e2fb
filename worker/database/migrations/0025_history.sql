-- What happened over time, for the dashboard's charts: what the counters grew by, in samples of 30 s, 3 min and 15 min.

CREATE TABLE carillon.history (
    -- Seconds that the sample is of.
    step     integer NOT NULL,
    -- UNIX seconds at which it begins: a multiple of `step`.
    at       bigint NOT NULL,
    -- '' with provider 0: all apps together. Every moment that was sampled has this row; of another moment nothing is known.
    app      text COLLATE "C" NOT NULL,
    -- 0: the app itself.
    provider integer NOT NULL,
    -- In which it happened: fewer where a part of the time was not sampled.
    seconds  integer NOT NULL,
    -- Counter -> what was added.
    counts   jsonb NOT NULL,
    -- Name -> the highest value.
    peaks    jsonb NOT NULL,
    PRIMARY KEY (app, provider, at, step)
);
CREATE INDEX history_by_time ON carillon.history (step, at);

-- The totals of `carillon.tallies` that the history has. A table of its own: sampling locks no row that counting waits for.
CREATE TABLE carillon.sampled (
    app      text COLLATE "C" NOT NULL,
    provider integer NOT NULL,
    source   text COLLATE "C" NOT NULL,
    totals   jsonb NOT NULL,
    PRIMARY KEY (app, provider, source)
);

-- The pages of an app and of a provider read its incidents.
CREATE INDEX incidents_by_app ON carillon.incidents (app, provider);

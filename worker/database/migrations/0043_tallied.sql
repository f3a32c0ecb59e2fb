-- Each partition's journal has tallies of its own, and so a last one that was counted. `last` is that of partition 0, as the release
-- before knows it; `others` has those of the others, by number.
ALTER TABLE carillon.tallied ADD COLUMN others jsonb NOT NULL DEFAULT '{}';

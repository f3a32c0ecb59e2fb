-- Streams as they are.
-- ARGV: streams [stream, cursor]
-- Returns: of each stream that there is its name, length, last id, how many entries were ever added ('' where the server does not
--   count them), how many of them were moved to other streams, and the id of the first behind the cursor or ''.
-- Twice: changes nothing.
-- With: figures
return figures_of(streams)

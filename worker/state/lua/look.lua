-- What a leader looks at each second, in one round trip.
-- ARGV: streams [stream, cursor]
-- Returns: whose data the server has ('' where it does not say); how much waits to be taken, as `load.lua` has it; and the streams
--   as they are, as `figures.lua` has them.
-- Twice: changes nothing.
-- With: figures, load
local lineage, replication = '', redis.pcall('INFO', 'replication')
if type(replication) == 'string' then lineage = string.match(replication, 'master_replid:(%w+)') or '' end
return {lineage, load_now(), figures_of(streams)}

-- All of a batch that was handed out of a way that does not flow was too old, so that nothing of it was sent: the next one may be looked at
-- at once. `stopped`: what is stopped, the way or its provider. `probe` (1 or 0): the batch was handed out for a probe, which the next one
-- may be by then; while another is being sent, none may.
-- ARGV: stopped, way, probe
-- Returns: nothing of use.
-- Twice: does nothing, unless another batch was handed out meanwhile: then a further one may be.
-- With: resumed
redis.call('DEL', LOOKED .. way)
if probe == '1' then redis.call('DEL', PROBE .. stopped) end
back_in_turn(way)
return 1

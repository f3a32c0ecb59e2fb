-- Hands the batch back as if it had not been taken: into its line (0), or to be taken after `delay` seconds.
-- ARGV: id, delay: number
-- Returns: how many batches are in their lines again that waited for it: of the urgent lane, and of the bulk lane.
-- Twice: does nothing, but that the delay begins anew.
-- With: hand_back
return by_lane(hand_back(id, delay))

-- id, delay: hands the batch back as if it had not been taken: into its line (0), or to be taken after `delay` seconds. Returns how many
-- batches are in their lines again that waited for it: of the urgent lane, and of the bulk lane.
return told(hand_back(ARGV[1], tonumber(ARGV[2])))

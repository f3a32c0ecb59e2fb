-- kind, lane: how many items wait to be taken.
return waiting(ARGV[1], ARGV[2])

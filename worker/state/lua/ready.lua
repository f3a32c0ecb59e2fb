-- kind, lane: how much waits to be taken.
local found = 0
for _, app in ipairs(waiting_apps(ARGV[1], ARGV[2])) do found = found + waiting_of(ARGV[1], ARGV[2], app) end
return found

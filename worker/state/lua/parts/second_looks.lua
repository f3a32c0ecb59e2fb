-- A second look (`<n>/<entry>`) is a unit of its entry. SECOND_LOOKS has it as EXPANDING has an expansion. It waits in SECOND_LOOKS_DUE
-- for its time, then in the line 'looks' of its app, and is leased in SECOND_LOOKS_DUE. DUE and the lines of both lanes never have one:
-- the release before takes whatever stands there for an entry.
local function entry_of(id) return string.match(id, '^[%d.]+/(.*)$') or id end
local function is_second_look(id) return entry_of(id) ~= id end
local function state_of(id) return redis.call('HGET', is_second_look(id) and SECOND_LOOKS or EXPANDING, id) end

-- What EXPANDING keeps of an entry: app, cursor, its place in the order of intake (empty: of a release before), and the key of its
-- channel (empty: of none, or of a release before).
local function expansion(state) return string.match(state, '^([^\n]*)\n([^\n]*)\n?([^\n]*)\n?(.*)$') end

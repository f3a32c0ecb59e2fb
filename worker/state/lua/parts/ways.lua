-- A way is `<provider>`, or `<provider>@<origin>`; see core/way.py. This is the provider of such a one; nothing for a whole provider.
local function whole_of(way) return string.match(way, '^(%d+)@') end

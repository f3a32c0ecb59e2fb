-- Walks over the inlet behind `after`, over so many entries or octets, and moves what other known apps than `head` have there. From the
-- first entry on whose app it cannot tell, it moves none, to keep the order.
-- ARGV: token, after, head, entries: number, octets: number, longest: number
-- Returns: the id of the last that it looked at, whether it stopped before the end, the apps with how many it moved, and what it did not
--   move from that first one on: {id, app or '', document where the app is ''}. Nothing for a leader that has been replaced.
-- Twice: moves nothing, for they are not on the inlet any more.
-- With: documents, inlet, moving
if not leads(token) then return {} end
-- As most documents begin, and as those of our publishers end that were made of objects. Others are decoded by the leader.
local BEGINNING = '^{%s*"v"%s*:%s*1%s*,%s*"type"%s*:%s*"[^"\\]*"%s*,%s*"id"%s*:%s*"[^"\\]*"%s*,%s*"app"%s*:%s*"([^"\\]*)"'
local ENDING = ',"app":"([^"\\]*)","at":"[^"\\]*","v":1}$'
local known, moved, order, unclear, more = {}, {}, {}, {}, 0
local function is_known(app)
  if known[app] == nil then known[app] = redis.call('SISMEMBER', APPS, app) == 1 end
  return known[app]
end
for n = 1, entries + 1 do
  local entry = after ~= LAST_ID and redis.call('XRANGE', EVENTS, '(' .. after, '+', 'COUNT', 1)[1]
  if not entry then break end
  if n > entries or octets <= 0 then
    more = 1
    break
  end
  after = entry[1]
  for i = 1, #entry[2] do octets = octets - #entry[2][i] end
  local document = event_of(entry[2])
  if document and #document <= longest then
    local app = string.match(document, BEGINNING) or string.match(string.sub(document, -1200), ENDING)
    if not app then
      unclear[#unclear + 1] = {after, '', document}
    elseif app ~= head and is_known(app) then
      if #unclear > 0 then
        unclear[#unclear + 1] = {after, app, ''}
      elseif move(after, entry[2], app) then
        if not moved[app] then
          moved[app] = 0
          order[#order + 1] = app
        end
        moved[app] = moved[app] + 1
      end
    end
  end
end
local counted = {}
for _, app in ipairs(order) do
  counted[#counted + 1] = app
  counted[#counted + 1] = moved[app]
end
return {after, more, counted, unclear}

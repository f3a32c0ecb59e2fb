-- token, after, head, entries, octets, longest: walks over the inlet behind `after` and moves what other known apps than `head` have
-- there. From the first entry on whose app it cannot tell, it moves none, to keep the order, and returns them: id, app or '',
-- document where the app is ''. Returns nothing for a leader that has been replaced; else the id of the last that it
-- looked at, whether it stopped before the end, the apps with how many it moved, and those.
if not leads(ARGV[1]) then return {} end
local after, head, room, longest = ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
-- As most documents begin, and as those of our publishers end that were made of objects. Others are decoded by the leader.
local BEGINNING = '^{%s*"v"%s*:%s*1%s*,%s*"type"%s*:%s*"[^"\\]*"%s*,%s*"id"%s*:%s*"[^"\\]*"%s*,%s*"app"%s*:%s*"([^"\\]*)"'
local ENDING = ',"app":"([^"\\]*)","at":"[^"\\]*","v":1}$'
local known, moved, order, unclear, more = {}, {}, {}, {}, 0
local function is_known(app)
  if known[app] == nil then known[app] = redis.call('SISMEMBER', 'carillon:apps', app) == 1 end
  return known[app]
end
for n = 1, tonumber(ARGV[4]) + 1 do
  local entry = after ~= LAST_ID and redis.call('XRANGE', STREAM, '(' .. after, '+', 'COUNT', 1)[1]
  if not entry then break end
  if n > tonumber(ARGV[4]) or room <= 0 then
    more = 1
    break
  end
  after = entry[1]
  for i = 1, #entry[2] do room = room - #entry[2][i] end
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
local told = {}
for _, app in ipairs(order) do
  told[#told + 1] = app
  told[#told + 1] = moved[app]
end
return {after, more, told, unclear}

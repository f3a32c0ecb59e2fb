-- Of which of these events nothing is known here: the entry is not on its stream and not open, and no account of the event waits for the
-- ledger. `beginning`: how such an account begins.
-- ARGV: events [entry, beginning]
-- Returns: their entries.
-- Twice: changes nothing.
-- With: streams
local left, heads = {}, {}
for _, entry, beginning in each(events) do
  if not on_its_stream(entry) and redis.call('HEXISTS', OPEN, entry) == 0 then left[entry] = beginning end
end
local at = 0
while next(left) do
  local some = redis.call('LRANGE', ACCOUNTS, at, at + 999)
  for _, account in ipairs(some) do
    local head = string.match(account, '^%["[^"\\]*","[^"\\]*",')
    if head then
      heads[head] = true
    else
      for entry, beginning in pairs(left) do
        if string.sub(account, 1, #beginning) == beginning then left[entry] = nil end
      end
    end
  end
  if #some < 1000 then break end
  at = at + 1000
end
local unknown = {}
for entry, beginning in pairs(left) do
  if not heads[beginning] then unknown[#unknown + 1] = entry end
end
return unknown

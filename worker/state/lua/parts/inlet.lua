-- With: places
-- Whether this leader still leads: a newer one has written a higher token.
local function leads(token)
  local known = redis.call('GET', INTAKE_TOKEN) or ''
  if newer(known, token) then return false end
  if known ~= token then redis.call('SET', INTAKE_TOKEN, token) end
  return true
end

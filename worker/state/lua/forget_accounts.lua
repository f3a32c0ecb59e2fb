-- n, first, last: the first n accounts go, if these still begin and end them. The first alone does not tell: of a clearing of
-- badges that is published twice the list may have the same account twice.
local key, n = 'carillon:accounts', tonumber(ARGV[1])
if redis.call('LINDEX', key, 0) ~= ARGV[2] or redis.call('LINDEX', key, n - 1) ~= ARGV[3] then return 0 end
redis.call('LTRIM', key, n, -1)
return 1

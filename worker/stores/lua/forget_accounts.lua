-- n, first: the first n accounts go, if `first` is still the first. No two are equal: a part of a message is accounted for once.
if redis.call('LINDEX', 'carillon:accounts', 0) ~= ARGV[2] then return 0 end
redis.call('LTRIM', 'carillon:accounts', ARGV[1], -1)
return 1

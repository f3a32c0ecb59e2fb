-- Whether nobody has ticked for three seconds. The caller does from now on.
-- KEYS: watched
-- Returns: 1 or 0
-- Twice: returns 0.
return redis.call('SET', watched, 1, 'NX', 'PX', 3000) and 1 or 0

-- Whether nobody has ticked for three seconds, and does from now on.
return redis.call('SET', 'carillon:watched', 1, 'NX', 'PX', 3000) and 1 or 0

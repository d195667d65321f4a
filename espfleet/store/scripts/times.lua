-- See that the server of a partition takes what it is told; nothing changes, for no device has this id.
-- KEYS: 1 due
-- Returns its time, ms since the epoch.
redis.call('ZADD', KEYS[1], 'XX', 0, '-')
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)

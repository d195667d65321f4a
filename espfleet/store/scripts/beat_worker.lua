-- Say that a worker lives.
-- KEYS: 1 the worker's key, 2 index of the role
-- ARGV: 1 name, 2 JSON about it, 3 lifetime in ms, 4 lifetime of the index in ms
-- Returns 1 if it was known to live, else 0.
local known = redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3], 'GET')
local now = redis.call('TIME')[1] * 1000
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return known and 1 or 0

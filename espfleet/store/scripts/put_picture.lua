-- Store the newest picture of a camera, count it, and tell it to all who look.
-- KEYS: 1 picture, 2 video, 3 arrivals
-- ARGV: 1 channel, 2 picture, 3 its lifetime in ms, 4 lifetime of the counts, 5 lifetime of the arrivals,
--       6 the arrival, 7 how many arrivals to keep, 8 how many pictures were dropped before this one,
--       9 size in pixels ("" if unknown)
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'total', 1 + ARGV[8])
redis.call('HINCRBY', KEYS[2], 'dropped', ARGV[8])
redis.call('HSET', KEYS[2], 'size', ARGV[9])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('LPUSH', KEYS[3], ARGV[6])
redis.call('LTRIM', KEYS[3], 0, ARGV[7] - 1)
redis.call('PEXPIRE', KEYS[3], ARGV[5])
redis.call('SPUBLISH', ARGV[1], ARGV[2])
return 1

-- Read what is known of devices.
-- KEYS: 1 due; then for each device: alive, session
-- ARGV: for each device: id
-- Returns for each device: whether it is alive (1 or 0), until when unless it is heard again, fields of its session.
local found = {}
for i = 1, #ARGV do
  found[i] = {
    redis.call('EXISTS', KEYS[2 * i]),
    redis.call('ZSCORE', KEYS[1], ARGV[i]),
    redis.call('HGETALL', KEYS[2 * i + 1]),
  }
end
return found

-- Change the presence of a connected device.
-- KEYS: 1 alive, 2 due, 3 session, 4 visits (not used)
-- ARGV: 1 device id, 2 session id, 3 presence, 4 reason
-- Returns the gateway; nil if it is so already, or another session is the latest.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local session, presence, gateway, watchdog =
  unpack(redis.call('HMGET', KEYS[3], 'session', 'presence', 'gateway', 'watchdog_ms'))
if session ~= ARGV[2] or presence == ARGV[3] then
  return nil
end
redis.call('HSET', KEYS[3], 'presence', ARGV[3], 'reason', ARGV[4], 'changed_ms', string.format('%.0f', now))
if ARGV[3] == 'live' then
  if presence == 'offline' then
    redis.call('HSET', KEYS[3], 'up_ms', string.format('%.0f', now))
  end
  redis.call('SET', KEYS[1], gateway, 'PX', watchdog)
  redis.call('ZADD', KEYS[2], 'GT', now + watchdog, ARGV[1])
end
return gateway

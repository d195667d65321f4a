-- End a session.
-- KEYS: 1 alive, 2 due, 3 session, 4 visits
-- ARGV: 1 device id, 2 session id, 3 reason, 4 lifetime of visits in ms, 5 how many visits to keep
-- Returns the gateway; nil if the device was offline already, or another session is the latest.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local session, presence, gateway, watchdog, up =
  unpack(redis.call('HMGET', KEYS[3], 'session', 'presence', 'gateway', 'watchdog_ms', 'up_ms'))
if session ~= ARGV[2] then
  return nil
end
local till = redis.call('ZSCORE', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if presence == 'offline' then
  return nil
end
local seen = till and math.min(till - watchdog, now) or now
redis.call('HSET', KEYS[3], 'presence', 'offline', 'reason', ARGV[3],
  'changed_ms', string.format('%.0f', now), 'seen_ms', string.format('%.0f', seen))
if up then
  redis.call('LPUSH', KEYS[4], up .. ' ' .. string.format('%.0f', now))
  redis.call('LTRIM', KEYS[4], 0, ARGV[5] - 1)
  redis.call('PEXPIRE', KEYS[4], ARGV[4])
end
return gateway

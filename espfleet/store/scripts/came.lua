-- Begin a session: the device is live.
-- KEYS: 1 alive, 2 due, 3 session, 4 visits
-- ARGV: 1 device id, 2 lifetime of a session's hash in ms, 3 of visits, 4 how many visits to keep; then fields of the
--       session and their values, "gateway" and "watchdog_ms" among them
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local session = {}
for i = 5, #ARGV, 2 do
  session[ARGV[i]] = ARGV[i + 1]
end
local text = string.format('%.0f', now)
local before, up = unpack(redis.call('HMGET', KEYS[3], 'presence', 'up_ms'))
if up and before ~= 'offline' and not session['since_ms'] then
  -- Nobody said that the session before has ended.
  local till = math.min(redis.call('ZSCORE', KEYS[2], ARGV[1]) or now, now)
  redis.call('LPUSH', KEYS[4], up .. ' ' .. string.format('%.0f', till))
  redis.call('LTRIM', KEYS[4], 0, ARGV[4] - 1)
  redis.call('PEXPIRE', KEYS[4], ARGV[3])
end
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'presence', 'live', 'reason', '', 'since_ms', text, 'changed_ms', text, 'seen_ms', text,
  'up_ms', session['since_ms'] or text, unpack(ARGV, 5))
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('SET', KEYS[1], session['gateway'], 'PX', session['watchdog_ms'])
redis.call('ZADD', KEYS[2], now + session['watchdog_ms'], ARGV[1])
return 1

-- Begin a session: the device is live.
-- KEYS: 1 alive, 2 due, 3 session
-- ARGV: 1 device id, 2 lifetime of a session's hash in ms; then fields of the session and their values,
--       "gateway" and "watchdog_ms" among them
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local session = {}
for i = 3, #ARGV, 2 do
  session[ARGV[i]] = ARGV[i + 1]
end
local text = string.format('%.0f', now)
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'presence', 'live', 'reason', '', 'since_ms', text, 'changed_ms', text, 'seen_ms', text,
  unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('SET', KEYS[1], session['gateway'], 'PX', session['watchdog_ms'])
redis.call('ZADD', KEYS[2], now + session['watchdog_ms'], ARGV[1])
return 1

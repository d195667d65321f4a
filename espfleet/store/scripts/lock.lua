-- The lock of one device: take it, wait for it in a queue, give it back to whoever has waited longest.
-- KEYS: 1 lock (string: token of the holder), 2 fence (string), 3 queue (sorted set: token -> ticket),
--       4 until (sorted set: token -> ms until when the waiter counts as alive)
-- ARGV: 1 what: take, release or leave; 2 token, ending in ":" and how long its lock shall last in ms;
--       3 ms the asker is ready to be silent while it waits (0: it does not wait); 4 beginning of the names of the
--       lists by which waiters are told (same tag); 5 lifetime of the fence in ms
-- Returns the fence and 0 if the asker has the lock now, else 0 and the ms until the present one ends.
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
local what, token = ARGV[1], ARGV[2]

local function grant(who)
  -- At least the time: so it grows also after it was forgotten.
  local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, now_us)
  fence = string.format('%.0f', fence)
  redis.call('SET', KEYS[2], fence, 'PX', ARGV[5])
  redis.call('SET', KEYS[1], who, 'PX', string.match(who, '(%d+)$'))
  redis.call('ZREM', KEYS[3], who)
  redis.call('ZREM', KEYS[4], who)
  return fence
end

local function hand_on()
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now)) do
    redis.call('ZREM', KEYS[3], dead)
    redis.call('ZREM', KEYS[4], dead)
  end
  local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
  if first and first ~= token then
    redis.call('RPUSH', ARGV[4] .. first, grant(first))
    redis.call('PEXPIRE', ARGV[4] .. first, 5000)
  end
end

local holder = redis.call('GET', KEYS[1])
if what == 'take' then
  if holder == token then
    return {redis.call('GET', KEYS[2]), 0}
  end
  if not holder then
    if redis.call('EXISTS', KEYS[3]) == 1 then
      hand_on()
    end
    if redis.call('EXISTS', KEYS[1]) == 0 then
      return {grant(token), 0}
    end
  end
  if ARGV[3] ~= '0' then
    redis.call('ZADD', KEYS[3], 'NX', now_us, token)
    redis.call('ZADD', KEYS[4], now + ARGV[3], token)
    redis.call('PEXPIRE', KEYS[3], 60000)
    redis.call('PEXPIRE', KEYS[4], 60000)
  end
  return {'0', redis.call('PTTL', KEYS[1])}
end
redis.call('ZREM', KEYS[3], token)
redis.call('ZREM', KEYS[4], token)
if holder == token then
  redis.call('DEL', KEYS[1])
  if redis.call('EXISTS', KEYS[3]) == 1 then
    hand_on()
  end
  return {'1', 0}
end
return {'0', 0}

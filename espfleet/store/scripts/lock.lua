-- The lock of one device: take it, wait for it in a queue, give it back to whoever has waited longest.
-- KEYS: 1 lock (string: token of the holder). Made from its name, and so in the same slot: …:fence (string),
--       …:queue (sorted set: token -> ticket), …:until (sorted set: token -> ms until when the waiter counts as
--       alive), …:turn:TOKEN (list by which a waiter is told). One name instead of five halves the time of a call.
-- ARGV: 1 what: take, release or leave; 2 token, ending in ":" and how long its lock shall last in ms;
--       3 ms the asker is ready to be silent while it waits (0: it does not wait)
-- Returns the fence and 0 if the asker has the lock now, else 0 and the ms until the present one ends; for release 1
-- if the asker had it.
local key = KEYS[1]
local what, token = ARGV[1], ARGV[2]
local holder = redis.call('GET', key)
local queue, alive = key .. ':queue', key .. ':until'
if what == 'release' and redis.call('EXISTS', queue) == 0 then
  -- Nearly always.
  return {holder == token and redis.call('DEL', key) or 0, 0}
end
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)

local function grant(who)
  -- At least the time: so it grows also after it was forgotten.
  local fence = math.max(tonumber(redis.call('GET', key .. ':fence') or '0') + 1, now_us)
  fence = string.format('%.0f', fence)
  redis.call('SET', key .. ':fence', fence, 'PX', 86400000)
  redis.call('SET', key, who, 'PX', string.match(who, '(%d+)$'))
  return fence
end

local function hand_on()
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', now)) do
    redis.call('ZREM', queue, dead)
    redis.call('ZREM', alive, dead)
  end
  local first = redis.call('ZRANGE', queue, 0, 0)[1]
  if first and first ~= token then
    redis.call('ZREM', queue, first)
    redis.call('ZREM', alive, first)
    redis.call('RPUSH', key .. ':turn:' .. first, grant(first))
    redis.call('PEXPIRE', key .. ':turn:' .. first, 5000)
  end
end

if what == 'take' then
  if holder == token then
    return {redis.call('GET', key .. ':fence'), 0}
  end
  if not holder then
    if redis.call('EXISTS', queue) == 0 then
      return {grant(token), 0}
    end
    hand_on()
    if redis.call('EXISTS', key) == 0 then
      redis.call('ZREM', queue, token)
      redis.call('ZREM', alive, token)
      return {grant(token), 0}
    end
  end
  if ARGV[3] ~= '0' then
    redis.call('ZADD', queue, 'NX', now_us, token)
    redis.call('ZADD', alive, now + ARGV[3], token)
    redis.call('PEXPIRE', queue, 60000)
    redis.call('PEXPIRE', alive, 60000)
  end
  return {'0', redis.call('PTTL', key)}
end
if what == 'leave' then
  redis.call('ZREM', queue, token)
  redis.call('ZREM', alive, token)
end
if holder == token then
  redis.call('DEL', key)
  if redis.call('EXISTS', queue) == 1 then
    hand_on()
  end
  return {'1', 0}
end
return {'0', 0}

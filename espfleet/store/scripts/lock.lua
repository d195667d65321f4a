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
local queue = key .. ':queue'
local waited_for = redis.call('EXISTS', queue) == 1
if what == 'release' and not waited_for then
  -- Nearly always.
  return {redis.call('GET', key) == token and redis.call('DEL', key) or 0, 0}
end
local function time_us()
  local now = redis.call('TIME')
  return now[1] * 1000000 + now[2]
end

local function fence()
  local number = redis.call('INCR', key .. ':fence')
  if number == 1 then
    -- From the time on: so it grows also after it was forgotten.
    number = time_us()
    redis.call('SET', key .. ':fence', string.format('%.0f', number))
  end
  redis.call('PEXPIRE', key .. ':fence', 86400000)
  return number
end

if what == 'take' and not waited_for and redis.call('SET', key, token, 'NX', 'PX', string.match(token, '%d+$')) then
  return {fence(), 0}
end
local now_us = time_us()
local now = math.floor(now_us / 1000)
local alive = key .. ':until'

local function grant(who)
  redis.call('SET', key, who, 'PX', string.match(who, '%d+$'))
  return fence()
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
    redis.call('RPUSH', key .. ':turn:' .. first, string.format('%.0f', grant(first)))
    redis.call('PEXPIRE', key .. ':turn:' .. first, 5000)
  end
end

local holder = redis.call('GET', key)
if what == 'take' then
  if holder == token then
    return {redis.call('GET', key .. ':fence'), 0}
  end
  if not holder then
    hand_on()
    if redis.call('EXISTS', key) == 0 then
      redis.call('ZREM', queue, token)
      redis.call('ZREM', alive, token)
      return {grant(token), 0}
    end
  end
  if holder then
    -- It lasts longer only if the clock was set back since.
    redis.call('PEXPIRE', key, string.match(holder, '%d+$'), 'LT')
  end
  if ARGV[3] ~= '0' then
    redis.call('ZADD', queue, 'NX', now_us, token)
    redis.call('ZADD', alive, now + ARGV[3], token)
    redis.call('PEXPIRE', queue, 60000)
    redis.call('PEXPIRE', alive, 60000)
  end
  return {0, redis.call('PTTL', key)}
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
  return {1, 0}
end
return {0, 0}

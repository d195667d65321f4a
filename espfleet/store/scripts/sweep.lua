-- Find devices whose time has run out, and remember them until their going is recorded.
-- KEYS: 1 due, 2 gone; then for each device: alive, session; then for each device: visits
-- ARGV: 1 lifetime of visits in ms, 2 how many visits to keep, 3 what stands for a gateway where there is none, 4 what
--       time it was a moment ago in ms; then for each device: id
-- Returns all that are remembered, each as "id, when its time ran out in ms, reason, gateway" with spaces between.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
now = string.format('%.0f', now_ms)
local count = #ARGV - 4
if math.abs(now_ms - ARGV[4]) > 1000 then
  -- The server was frozen since, or its clock was set: who is alive is not known.
  count = 0
end
for i = 1, count do
  local id, alive, session, visits = ARGV[i + 4], KEYS[2 * i + 1], KEYS[2 * i + 2], KEYS[2 * count + 2 + i]
  local till = redis.call('ZSCORE', KEYS[1], id)
  local left = redis.call('PTTL', alive)
  if till and left > 0 then
    -- It has longer only if the clock was set back since.
    local most = tonumber(redis.call('HGET', session, 'watchdog_ms') or '') or left
    if left > most then
      redis.call('PEXPIRE', alive, most)
    end
    redis.call('ZADD', KEYS[1], now_ms + math.min(left, most), id)
  elseif till then
    till = math.min(till, now_ms)
    redis.call('ZREM', KEYS[1], id)
    local presence, gateway, watchdog, up =
      unpack(redis.call('HMGET', session, 'presence', 'gateway', 'watchdog_ms', 'up_ms'))
    if presence and presence ~= 'offline' then
      -- A gateway that lives says that a device is late before its time is out; one that died cannot.
      local reason = (presence == 'late' or gateway == ARGV[3]) and 'silent' or 'gateway gone'
      redis.call('HSET', session, 'presence', 'offline', 'reason', reason, 'changed_ms', now,
        'seen_ms', string.format('%.0f', till - watchdog))
      if up then
        redis.call('LPUSH', visits, up .. ' ' .. string.format('%.0f', till))
        redis.call('LTRIM', visits, 0, ARGV[2] - 1)
        redis.call('PEXPIRE', visits, ARGV[1])
      end
      redis.call('ZADD', KEYS[2], till, id .. ' ' .. string.format('%.0f', till) .. ' ' ..
        string.gsub(reason, ' ', '_') .. ' ' .. gateway)
    end
  end
end
return redis.call('ZRANGE', KEYS[2], 0, -1)

-- Keep devices alive.
-- KEYS: 1 due; then for each device: alive, session
-- ARGV: 1 gateway, 2 lifetime of a session's hash in ms; then for each device: id, how long it has left in ms
-- Returns ids of the devices whose session is not known.
local now = redis.call('TIME')
local turn = now[1] % 32
now = now[1] * 1000 + math.floor(now[2] / 1000)
local due = {}
for i = 2, #KEYS, 2 do
  local left = ARGV[i + 2]
  if tonumber(left) > 0 then
    -- In the log this is shorter than to set it anew.
    if redis.call('PEXPIRE', KEYS[i], left) == 0 then
      redis.call('SET', KEYS[i], ARGV[1], 'PX', left)
    end
    due[#due + 1] = now + left
    due[#due + 1] = ARGV[i + 1]
  end
end
local missing = {}
if #due == 0 then
  return missing
end
local new = redis.call('ZADD', KEYS[1], 'GT', unpack(due))
for i = 2, #KEYS, 2 do
  -- All sessions when the server may have been emptied; else some at a time, for they last for days.
  if new > 0 or i / 2 % 32 == turn then
    local lasts = redis.call('PTTL', KEYS[i + 1])
    if lasts == -2 then
      missing[#missing + 1] = ARGV[i + 1]
    elseif lasts < ARGV[2] / 2 then
      redis.call('PEXPIRE', KEYS[i + 1], ARGV[2])
    end
    local watchdog = tonumber(redis.call('HGET', KEYS[i + 1], 'watchdog_ms') or '')
    local id, left = ARGV[i + 1], tonumber(ARGV[i + 2])
    if watchdog and left > 0 and (tonumber(redis.call('ZSCORE', KEYS[1], id)) or 0) > now + watchdog then
      -- The clock was set back since.
      redis.call('ZADD', KEYS[1], now + left, id)
    end
  end
end
return missing

-- Keep devices alive.
-- KEYS: 1 due; then for each device: alive, session
-- ARGV: 1 gateway, 2 lifetime of a session's hash in ms; then for each device: id, how long it has left in ms
-- Returns ids of the devices whose session is not known.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local missing = {}
for i = 2, #KEYS, 2 do
  local id, left = ARGV[i + 1], tonumber(ARGV[i + 2])
  if left > 0 then
    redis.call('SET', KEYS[i], ARGV[1], 'PX', left)
    redis.call('ZADD', KEYS[1], 'GT', now + left, id)
    local lasts = redis.call('PTTL', KEYS[i + 1])
    if lasts == -2 then
      missing[#missing + 1] = id
    elseif lasts < ARGV[2] / 2 then
      -- Seldom, for each renewal is also written to the disk.
      redis.call('PEXPIRE', KEYS[i + 1], ARGV[2])
    end
  end
end
return missing

-- Store readings of a device.
-- KEYS: 1 readings
-- ARGV: 1 lifetime in ms, 2 how many names it may have; then for each reading: name, text
-- Returns how many were left out.
local left_out = 0
local room = ARGV[2] - redis.call('HLEN', KEYS[1])
for i = 3, #ARGV, 2 do
  if room > 0 or redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    room = room - redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  else
    left_out = left_out + 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return left_out

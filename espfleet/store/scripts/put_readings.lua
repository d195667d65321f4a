-- Store readings of a device.
-- KEYS: 1 readings, 2 history
-- ARGV: 1 lifetime in ms, 2 how many names it may have; then for each reading: name, "ms value"
-- Returns how many were left out.
local left_out = 0
local room = ARGV[2] - redis.call('HLEN', KEYS[1])
local past = {}
local function minute(text)
  return math.floor(tonumber(string.match(text, '^-?%d+')) / 60000)
end
for i = 3, #ARGV, 2 do
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  if before or room > 0 then
    room = room - redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    if not before or minute(before) ~= minute(ARGV[i + 1]) then
      past[#past + 1] = ARGV[i]
      past[#past + 1] = ARGV[i + 1]
    end
  else
    left_out = left_out + 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if #past > 0 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 2880, '*', unpack(past))
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
return left_out

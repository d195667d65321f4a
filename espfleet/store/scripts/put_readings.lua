-- Store readings of a device: the latest of each name, and one a minute of it for a day.
-- KEYS: 1 readings, 2 minutes
-- ARGV: 1 lifetime in ms, 2 how many names it may have; then for each reading: name, "ms value"
-- Returns how many were left out.
--
-- The minutes of a name are packed by the hour, in fields "HOUR NAME" (hours since the epoch); domain/minutes.py reads
-- them. Each takes three bytes, the ms within its hour times four plus how its value follows: 0 hundredths in two
-- bytes, 1 a whole number in four, 2 a single float, 3 a double; big-endian.
local HOUR_MS, HOURS, MOST_BYTES = 3600000, 24, 60 * 11
local left_out = 0
local room = ARGV[2] - redis.call('HLEN', KEYS[1])
local put = {}
local opened

local function packed(value)
  local hundredths = value * 100
  if hundredths >= -32768 and hundredths <= 32767 then
    hundredths = math.floor(hundredths + 0.5)
    if hundredths / 100 == value then
      return 0, struct.pack('>h', hundredths)
    end
  end
  if value == math.floor(value) and value >= -2147483648 and value <= 2147483647 then
    return 1, struct.pack('>i4', value)
  end
  -- Numbers of a lamp are single floats, told as their shortest decimals.
  local single = struct.pack('>f', value)
  if tonumber(string.format('%.7g', (struct.unpack('>f', single)))) == value then
    return 2, single
  end
  return 3, struct.pack('>d', value)
end

local function keep(name, at_ms, value)
  local hour = math.floor(at_ms / HOUR_MS)
  local field = string.format('%.0f ', hour) .. name
  local known = redis.call('HGET', KEYS[2], field)
  if not known then
    opened = hour
  elseif #known > MOST_BYTES - 11 then
    return
  end
  local kind, rest = packed(value)
  local place = (at_ms - hour * HOUR_MS) * 4 + kind
  put[#put + 1] = field
  put[#put + 1] = (known or '') .. struct.pack('>I3', place) .. rest
end

for i = 3, #ARGV, 2 do
  local name, text = ARGV[i], ARGV[i + 1]
  local before = redis.call('HGET', KEYS[1], name)
  if before or room > 0 then
    room = room - redis.call('HSET', KEYS[1], name, text)
    local at_ms, value = string.match(text, '^(%S+) (%S+)$')
    at_ms = tonumber(at_ms)
    local last_ms = before and tonumber(string.match(before, '^%S+'))
    if not last_ms or math.floor(last_ms / 60000) ~= math.floor(at_ms / 60000) then
      keep(name, at_ms, tonumber(value))
    end
  else
    left_out = left_out + 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if #put > 0 then
  redis.call('HSET', KEYS[2], unpack(put))
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
if opened then
  local gone = {}
  for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
    local hour = tonumber(string.match(field, '^%S+'))
    -- An hour ahead is of a name that was told just before; others are of a clock that was wrong.
    if hour < opened - HOURS or hour > opened + 1 then
      gone[#gone + 1] = field
    end
  end
  if #gone > 0 then
    redis.call('HDEL', KEYS[2], unpack(gone))
  end
end
return left_out

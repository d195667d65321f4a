-- Store what devices reported: of each the latest of each name, and one a minute of it for a day.
-- KEYS: for each report: readings, minutes of its device
-- ARGV: 1 lifetime in ms, 2 how many names a device may have; then for each report: ms, how many readings, their names,
-- their values
-- Returns how many readings were left out.
--
-- The minutes of a name are packed by the hour, in fields "HOUR NAME" (hours since the epoch); domain/minutes.py reads
-- them. Each takes three bytes, the ms within its hour times four plus how its value follows: 0 hundredths in two
-- bytes, 1 a whole number in four, 2 a single float, 3 a double; big-endian.
local HOUR_MS, HOURS, MOST_BYTES = 3600000, 24, 60 * 11
local lifetime_ms, most_names = ARGV[1], tonumber(ARGV[2])
local left_out = 0

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

-- Take out the hours that are over.
local function clear(key, opened)
  local gone = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local hour = tonumber(string.match(field, '^%S+'))
    -- An hour ahead is of a name that was told just before; others are of a clock that was wrong.
    if hour < opened - HOURS or hour > opened + 1 then
      gone[#gone + 1] = field
    end
  end
  if #gone > 0 then
    redis.call('HDEL', key, unpack(gone))
  end
end

-- Keep a minute of some names.
local function keep(key, at_ms, names, values)
  local hour = math.floor(at_ms / HOUR_MS)
  local begin = string.format('%.0f ', hour)
  local fields = {}
  for i, name in ipairs(names) do
    fields[i] = begin .. name
  end
  local known = redis.call('HMGET', key, unpack(fields))
  local place_ms = (at_ms - hour * HOUR_MS) * 4
  local put, is_new = {}, false
  for i, field in ipairs(fields) do
    local minutes = known[i] or ''
    is_new = is_new or not known[i]
    if #minutes <= MOST_BYTES - 11 then
      local kind, rest = packed(tonumber(values[i]))
      put[#put + 1] = field
      put[#put + 1] = minutes .. struct.pack('>I3', place_ms + kind) .. rest
    end
  end
  if #put > 0 then
    redis.call('HSET', key, unpack(put))
    redis.call('PEXPIRE', key, lifetime_ms)
  end
  if is_new then
    clear(key, hour)
  end
end

-- The minute of "ms value"; of the devices of one call it is mostly the same few.
local minutes = {}

local function minute_of(text)
  local ms = string.match(text, '^%S+')
  local minute = minutes[ms]
  if not minute then
    minute = math.floor(tonumber(ms) / 60000)
    minutes[ms] = minute
  end
  return minute
end

local at, put = 3, {}
for report = 1, #KEYS, 2 do
  local key, at_text, count = KEYS[report], ARGV[at], tonumber(ARGV[at + 1])
  local minute, begin = minute_of(at_text), at_text .. ' '
  local before = redis.call('HMGET', key, unpack(ARGV, at + 2, at + 1 + count))
  local words, room, names, values = 0, nil, nil, nil
  for i = 1, count do
    local name, value, last = ARGV[at + 1 + i], ARGV[at + 1 + count + i], before[i]
    if not last then
      room = (room or most_names - redis.call('HLEN', key)) - 1
    end
    if last or room >= 0 then
      put[words + 1], put[words + 2] = name, begin .. value
      words = words + 2
      if not last or minute_of(last) ~= minute then
        names, values = names or {}, values or {}
        names[#names + 1], values[#values + 1] = name, value
      end
    else
      left_out = left_out + 1
    end
  end
  if words > 0 then
    redis.call('HSET', key, unpack(put, 1, words))
  end
  if names then
    -- Often enough: it lives a day, and each of its names has such a minute as long as it is told.
    redis.call('PEXPIRE', key, lifetime_ms)
    keep(KEYS[report + 1], tonumber(at_text), names, values)
  end
  at = at + 2 + 2 * count
end
return left_out

-- Record an event and tell it.
-- KEYS: 1 events, 2 the mark's key
-- ARGV: 1 channel, 2 how many events to keep, 3 JSON, 4 mark ("" for none), 5 lifetime of the mark in ms
-- Returns the event's id, or nil if one with its mark is recorded.
if ARGV[4] ~= '' and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[5]) then
  return nil
end
-- Ids tell no time: they never go back, as the clock may.
local now = redis.call('TIME')
local text = string.format('%s,"recorded_ms":%s%03d}', string.sub(ARGV[3], 1, -2), now[1], math.floor(now[2] / 1000))
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'e', text)
redis.call('SPUBLISH', ARGV[1], id .. ' ' .. text)
return id

-- Record an event and tell it.
-- KEYS: 1 events, 2 the mark's key
-- ARGV: 1 channel, 2 how many events to keep, 3 JSON, 4 mark ("" for none), 5 lifetime of the mark in ms
-- Returns the event's id, or nil if one with its mark is recorded.
if ARGV[4] ~= '' and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[5]) then
  return nil
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[3])
redis.call('SPUBLISH', ARGV[1], id .. ' ' .. ARGV[3])
return id

-- Record events and tell them in one message, a line each.
-- KEYS: 1 events
-- ARGV: 1 channel, 2 how many events to keep; then the JSON of each
local lines = {}
-- As add_event.lua does it.
local now = redis.call('TIME')
local recorded = string.format(',"recorded_ms":%s%03d}', now[1], math.floor(now[2] / 1000))
for i = 3, #ARGV do
  local text = string.sub(ARGV[i], 1, -2) .. recorded
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'e', text)
  lines[#lines + 1] = id .. ' ' .. text
end
redis.call('SPUBLISH', ARGV[1], table.concat(lines, '\n'))
return #lines

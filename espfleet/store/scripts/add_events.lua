-- Record events and tell them in one message, a line each.
-- KEYS: 1 events
-- ARGV: 1 channel, 2 how many events to keep; then the JSON of each
local lines = {}
for i = 3, #ARGV do
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[i])
  lines[#lines + 1] = id .. ' ' .. ARGV[i]
end
redis.call('SPUBLISH', ARGV[1], table.concat(lines, '\n'))
return #lines

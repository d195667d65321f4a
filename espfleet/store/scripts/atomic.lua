-- Run commands with nothing in between, where the client cannot send them so.
-- KEYS: a key of each command
-- ARGV: for each command: how many words it has, and the words
-- Returns the reply to each command.
local replies, at = {}, 1
while at <= #ARGV do
  local last = at + ARGV[at]
  replies[#replies + 1] = redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
return replies

-- Find the devices of a partition that are there.
-- KEYS: 1 due
-- ARGV: 1 what the names of sessions begin with, in the same slot
-- Returns the ids of all, then the ids of those that are late, each in one text with spaces between.
local now = redis.call('TIME')
now = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
local there = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
local late, begin, call = {}, ARGV[1], redis.call
for i = 1, #there do
  if call('HGET', begin .. there[i], 'presence') == 'late' then
    late[#late + 1] = there[i]
  end
end
return { table.concat(there, ' '), table.concat(late, ' ') }

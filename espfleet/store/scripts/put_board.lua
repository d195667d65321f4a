-- Store the state of a board, unless somebody with a newer lock has done so.
-- KEYS: 1 board
-- ARGV: 1 fence of the writer's lock, 2 lifetime in ms; then fields and values
-- Returns 1, or 0 if the writer is late.
local fence = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
if tonumber(ARGV[1]) < fence then
  return 0
end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1

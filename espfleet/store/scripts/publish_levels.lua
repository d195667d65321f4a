-- Store levels and tell them; without levels, beat.
-- KEYS: 1 fence of the shard, 2 seq, 3 levels, 4 beat
-- ARGV: 1 fence of the writer, 2 channel, 3 shard, 4 time in ms, 5 lifetime of the beat in ms,
--       6 inside of a JSON object: levels by group; then for each level: group, JSON
-- Returns the number of the publication, or -1 if the shard has another owner.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return -1
end
local seq = redis.call('GET', KEYS[2])
if not seq then
  -- The time in microseconds: so that it goes on growing even when the server was emptied.
  local now = redis.call('TIME')
  seq = string.format('%.0f', now[1] * 1000000 + now[2])
  redis.call('SET', KEYS[2], seq)
end
local levels = ''
if #ARGV > 6 then
  seq = string.format('%.0f', redis.call('INCR', KEYS[2]))
  for i = 7, #ARGV, 2 do
    redis.call('HSET', KEYS[3], ARGV[i], seq .. ' ' .. ARGV[i + 1])
  end
  levels = ',"levels":{' .. ARGV[6] .. '}'
end
redis.call('SET', KEYS[4], ARGV[4], 'PX', ARGV[5])
redis.call('SPUBLISH', ARGV[2], '{"shard":' .. ARGV[3] .. ',"seq":' .. seq .. ',"at_ms":' .. ARGV[4] .. levels .. '}')
return tonumber(seq)

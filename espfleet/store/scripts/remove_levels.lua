-- Forget levels.
-- KEYS: 1 fence of the shard, 2 levels
-- ARGV: 1 fence of the writer; then groups
-- Returns 1, or 0 if the shard has another owner.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
for i = 2, #ARGV do
  redis.call('HDEL', KEYS[2], ARGV[i])
end
return 1

-- End a lease, if it is still the same one.
-- KEYS: 1 owner, 2 fence
-- ARGV: 1 who asks, 2 its fence
-- Returns 1 if it ended, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
return redis.call('DEL', KEYS[1])

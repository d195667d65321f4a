-- Let a lease last longer, if it is still the same one.
-- KEYS: 1 owner, 2 fence
-- ARGV: 1 who asks, 2 its fence, 3 lifetime in ms
-- Returns 1, or 0 if it has ended or passed to somebody else.
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])

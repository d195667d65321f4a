-- Start a cooldown, unless the last one still lasts.
-- KEYS: 1 cooldown (string: for how many ms it was started)
-- ARGV: 1 for how long, in ms
-- Returns 0 if it began, else for how many ms the last one still lasts.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[1]) then
  return 0
end
-- It lasts longer than it was to only if the clock was set back since.
redis.call('PEXPIRE', KEYS[1], redis.call('GET', KEYS[1]), 'LT')
return math.max(redis.call('PTTL', KEYS[1]), 1)

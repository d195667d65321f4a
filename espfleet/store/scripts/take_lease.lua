-- Take a lease, or renew it for the one who has it.
-- KEYS: 1 owner, 2 fence
-- ARGV: 1 who asks, 2 lifetime in ms
-- Returns the fence, or 0 while somebody else has it.
local owner = redis.call('GET', KEYS[1])
local fence = tonumber(redis.call('GET', KEYS[2]) or '0')
if owner and owner ~= ARGV[1] then
  -- It lasts longer only if the clock was set back since, and who had it may be dead.
  redis.call('PEXPIRE', KEYS[1], ARGV[2], 'LT')
  return 0
end
if owner and fence > 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return fence
end
-- At least the time in microseconds: so it grows even when the server was emptied in between. Where the clock was set
-- back, what was lost with the server's last second is skipped by chance, and nobody gets the fence of another.
local now = redis.call('TIME')
fence = math.max(fence + 1 + now[2], now[1] * 1000000 + now[2])
redis.call('SET', KEYS[2], string.format('%.0f', fence))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return fence

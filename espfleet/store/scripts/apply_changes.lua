-- Write rows of the registry, all or none, and who did it.
-- KEYS: 1 version, 2 audit; 3.. the tables, in the order of keys.KINDS
-- ARGV: 1 expected version, 2 channel, 3 how many audit entries to keep, 4 audit entry; then for each row: number of
--       its table from 1, key, JSON ("" deletes it)
-- Returns the new version, or 0 if the version is not the expected one.
local current = redis.call('GET', KEYS[1]) or '0'
if current ~= ARGV[1] then
  return 0
end
for i = 5, #ARGV, 3 do
  local tab = KEYS[2 + ARGV[i]]
  if ARGV[i + 2] == '' then
    redis.call('HDEL', tab, ARGV[i + 1])
  else
    redis.call('HSET', tab, ARGV[i + 1], ARGV[i + 2])
  end
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[4])
-- At least the time in microseconds: so a version is never used twice, not even when the server was emptied in between.
-- Where the clock was set back, what was lost with the server's last second is skipped by chance.
local now = redis.call('TIME')
local version = math.max(tonumber(current) + 1 + now[2], now[1] * 1000000 + now[2])
local text = string.format('%.0f', version)
redis.call('SET', KEYS[1], text)
redis.call('SPUBLISH', ARGV[2], text)
return version

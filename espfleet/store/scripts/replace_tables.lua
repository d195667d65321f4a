-- Write the whole registry anew, all or nothing, and who did it.
-- KEYS: 1 settings, 2 version, 3 audit; 4.. the tables, in the order of keys.KINDS
-- ARGV: 1 expected version, 2 expected schema, 3 new schema, 4 channel, 5 how many audit entries to keep, 6 audit entry
--       ("" for none); then for each row: number of its table from 1, key, JSON
-- Returns the new version, or 0 if version or schema are not the expected ones.
local current = redis.call('GET', KEYS[2]) or '0'
if current ~= ARGV[1] or redis.call('HGET', KEYS[1], 'schema') ~= ARGV[2] then
  return 0
end
for i = 4, #KEYS do
  redis.call('DEL', KEYS[i])
end
for i = 7, #ARGV, 3 do
  redis.call('HSET', KEYS[3 + ARGV[i]], ARGV[i + 1], ARGV[i + 2])
end
redis.call('HSET', KEYS[1], 'schema', ARGV[3])
if ARGV[6] ~= '' then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 'e', ARGV[6])
end
-- As apply_changes.lua does it.
local now = redis.call('TIME')
local version = math.max(tonumber(current) + 1 + now[2], now[1] * 1000000 + now[2])
local text = string.format('%.0f', version)
redis.call('SET', KEYS[2], text)
redis.call('SPUBLISH', ARGV[4], text)
return version

-- Tell who works.
-- KEYS: 1 index of the role
-- ARGV: 1 what the names of its workers' keys begin with, in the same slot; 2 for how long they live after a beat, in ms
-- Returns name and JSON of each, in turn.
local found = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local told = redis.call('GET', ARGV[1] .. name)
  if told then
    -- It lives longer only if the clock was set back since: one that died then would live on for as long.
    redis.call('PEXPIRE', ARGV[1] .. name, ARGV[2], 'LT')
    found[#found + 1] = name
    found[#found + 1] = told
  end
end
return found

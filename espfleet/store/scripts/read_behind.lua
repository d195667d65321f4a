-- Read new entries for a consumer, and tell where the stream and its group stood before.
-- KEYS: 1 stream
-- ARGV: 1 group, 2 consumer, 3 how many entries
-- Returns how many entries were ever written, how many are there, id of the first one there ("" without any),
--   id of the last one delivered, how many were delivered ("" if not known), and the new entries: id, names and values.
local function table_of(flat)
  local found = {}
  for i = 1, #flat, 2 do
    found[flat[i]] = flat[i + 1]
  end
  return found
end
local about
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = table_of(flat)
  if group['name'] == ARGV[1] then
    about = group
  end
end
local stream = table_of(redis.call('XINFO', 'STREAM', KEYS[1]))
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
return {
  stream['entries-added'], stream['length'], stream['first-entry'] and stream['first-entry'][1] or '',
  about['last-delivered-id'], about['entries-read'] or '', reply and reply[1][2] or {},
}

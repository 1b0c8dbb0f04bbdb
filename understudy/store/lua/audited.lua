-- Change something and add the entry that tells of it, both or neither: 0 when it is done, -1 when the chain
-- has another head by now, else the number of the first guard that does not hold any more.
-- KEYS: audit (a list), head of the audit, then those that the commands use.
-- ARGV: head expected (empty: none yet), entry, new head, how many guards there are, then the guards (each
-- HGET or GET, key, field, the value expected, empty for none), then the commands, each with its length before it.
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return -1 end
local at = 5
for guard = 1, tonumber(ARGV[4]) do
  local value
  if ARGV[at] == 'HGET' then
    value = redis.call('HGET', ARGV[at + 1], ARGV[at + 2])
  else
    value = redis.call('GET', ARGV[at + 1])
  end
  if (value or '') ~= ARGV[at + 3] then return guard end
  at = at + 4
end
while at <= #ARGV do
  local size = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + size))
  at = at + size + 1
end
redis.call('RPUSH', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3])
return 0

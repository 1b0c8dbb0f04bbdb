-- Add one batch of exposures: 1; 0 if it has been added before.
-- KEYS: batches, hours, last times, names of variants, then a set of units for each variant.
-- ARGV: batch, time of the batch, then three lists, each with its length before it: hour, n, name of the
-- variant; name of the variant; which set of units (from 1), unit, time.
if redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1]) == 0 then return 0 end
local at = 3
local function items(size)
  local first, n = at + 1, tonumber(ARGV[at])
  at = first + n * size
  local i = first - size
  return function()
    i = i + size
    if i < first + n * size then return i end
  end
end
for i in items(3) do
  redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
  local last = redis.call('HGET', KEYS[3], ARGV[i + 2])
  if not last or tonumber(last) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[3], ARGV[i + 2], ARGV[2]) end
end
for i in items(1) do redis.call('SADD', KEYS[4], ARGV[i]) end
for i in items(3) do redis.call('ZADD', KEYS[4 + tonumber(ARGV[i])], 'NX', ARGV[i + 2], ARGV[i + 1]) end
return 1

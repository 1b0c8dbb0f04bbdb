-- Add one batch: 1; 0 if it has been added before; -1 if the samples have changed since they were looked at.
-- Nothing is written before all that can refuse has been asked, and the source is noted first.
-- KEYS: evidence, sources, seen, changes, light, bodies, wholes.
-- ARGV: source, sequence (19 digits), how many sources are remembered, changes of samples seen (empty: this
-- batch changes none), then three lists, each with its length before it: key, n; number; number, light,
-- body, whole.
local last = redis.call('HGET', KEYS[2], ARGV[1])
if last and last >= ARGV[2] then return 0 end
if ARGV[4] ~= '' and (redis.call('GET', KEYS[4]) or '0') ~= ARGV[4] then return -1 end

local top = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], (tonumber(top[2]) or 0) + 1, ARGV[1])
for _, old in ipairs(redis.call('ZRANGE', KEYS[3], 0, -tonumber(ARGV[3]) - 1)) do
  redis.call('ZREM', KEYS[3], old)
  redis.call('HDEL', KEYS[2], old)
end

local at = 5
local function items(size)
  local first, n = at + 1, tonumber(ARGV[at])
  at = first + n * size
  local i = first - size
  return function()
    i = i + size
    if i < first + n * size then return i end
  end
end
for i in items(2) do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i in items(1) do
  for key = 5, 7 do redis.call('HDEL', KEYS[key], ARGV[i]) end
end
for i in items(4) do
  for part = 1, 3 do redis.call('HSET', KEYS[4 + part], ARGV[i], ARGV[i + part]) end
end
if ARGV[4] ~= '' then redis.call('INCR', KEYS[4]) end
return 1

-- Make rules that were stored elsewhere the copy here, and ring the bell; what became of it in a word.
-- KEYS: rules. ARGV: version, the row as JSON, the mark of the store they come from, the bell's channel, 1 if
-- the copy is damaged, so that its version says nothing.
local newest, origin = unpack(redis.call('HMGET', KEYS[1], 'newest', 'origin'))
if newest and origin ~= ARGV[3] then return 'foreign' end
if newest and ARGV[5] ~= '1' then
  if tonumber(newest) > tonumber(ARGV[1]) then return 'newer' end
  if newest == ARGV[1] and redis.call('HGET', KEYS[1], newest) == ARGV[2] then return 'same' end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], 'newest', ARGV[1], 'origin', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[1])
return 'written'

-- Change a token unless somebody else has: 1, or 0. KEYS: tokens. ARGV: selector, row expected, new row.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1

-- Store rules as the next version, if the newest is the one expected. {1, version}, or {0, the newest}.
-- KEYS: rules. ARGV: expected version or -1, the row as JSON without its version, how many versions are
-- kept, the channel that is the bell.
local actual = tonumber(redis.call('HGET', KEYS[1], 'newest') or '0')
local expected = tonumber(ARGV[1])
if expected >= 0 and expected ~= actual then return {0, actual} end
local version = string.format('%d', actual + 1)
redis.call('HSET', KEYS[1], version, ARGV[2], 'newest', version)
redis.call('HDEL', KEYS[1], string.format('%d', actual + 1 - tonumber(ARGV[3])))
redis.call('PUBLISH', ARGV[4], version)
return {1, actual + 1}

-- The newest version and its row; nothing while there is none. KEYS: rules.
local version = redis.call('HGET', KEYS[1], 'newest')
if not version then return {} end
return {version, redis.call('HGET', KEYS[1], version)}

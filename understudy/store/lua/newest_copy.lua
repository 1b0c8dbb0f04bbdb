-- The copy's version, its row and the mark of the store it comes from; nothing while there is none.
-- KEYS: rules.
local newest, origin = unpack(redis.call('HMGET', KEYS[1], 'newest', 'origin'))
if not newest then return {} end
return {newest, redis.call('HGET', KEYS[1], newest), origin or ''}

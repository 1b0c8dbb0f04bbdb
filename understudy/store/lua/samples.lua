-- How often the samples have changed, what the choice between them looks at, by number, and the time here (Unix
-- seconds).
-- KEYS: changes, light.
return {redis.call('GET', KEYS[1]) or '0', redis.call('HGETALL', KEYS[2]), redis.call('TIME')[1]}

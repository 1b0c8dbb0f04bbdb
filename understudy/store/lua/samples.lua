-- How often the samples have changed, and what the choice between them looks at, by number.
-- KEYS: changes, light.
return {redis.call('GET', KEYS[1]) or '0', redis.call('HGETALL', KEYS[2])}

-- Forget counts and samples. KEYS: changes, evidence, light, bodies, wholes.
for key = 2, 5 do redis.call('UNLINK', KEYS[key]) end
redis.call('INCR', KEYS[1])
return 1

-- Forget counts and samples. KEYS: changes, cleared, evidence, light, bodies, wholes. ARGV: this clearing's number.
for key = 3, 6 do redis.call('UNLINK', KEYS[key]) end
redis.call('INCR', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1])
return 1

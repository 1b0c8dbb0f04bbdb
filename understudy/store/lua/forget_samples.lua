-- Forget samples by number: 1, or -1 if they have changed since they were looked at.
-- KEYS: changes, light, bodies, wholes. ARGV: changes seen, numbers.
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then return -1 end
for i = 2, #ARGV do
  for key = 2, 4 do redis.call('HDEL', KEYS[key], ARGV[i]) end
end
redis.call('INCR', KEYS[1])
return 1

-- The number of the last clearing, and of the last batch; 0 while there is none. KEYS: seen, cleared.
return {redis.call('GET', KEYS[2]) or '0', redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or '0'}

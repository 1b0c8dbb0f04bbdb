-- The head of the audit (empty: none), and whether there are entries. KEYS: audit, head of the audit.
return {redis.call('GET', KEYS[2]) or '', redis.call('EXISTS', KEYS[1])}

-- The client of the bench, run by wrk. Arguments: constant | changing, a token that differs in every run,
-- the method, and the bytes of the body.
-- "changing" sends another X-Request-Id with every request, of the same length, so that no proxy can
-- live off having seen the same header block before.

function init(args)
  local bytes = tonumber(args[4])
  wrk.method = args[3]
  if bytes > 0 then
    wrk.body = '{"note": "' .. string.rep("x", bytes - 12) .. '"}'
  end
  if args[1] ~= "changing" then
    local whole = wrk.format()
    request = function() return whole end
    return
  end
  local slot, token = wrk.headers["X-Request-Id"], args[2]
  local head = wrk.format()
  local from, to = head:find(slot, 1, true)
  local before, after = head:sub(1, from - 1) .. token, head:sub(to + 1)
  local digits = "%0" .. (#slot - #token) .. "d"
  local n = 0
  request = function()
    n = n + 1
    return before .. string.format(digits, n) .. after
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("\nRESULT %d %d %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end

-- Asks with one of 10,000 tokens, and each twentieth time with one that was never shown before; the route that asks nobody
-- gets the same in a field without a meaning, so that wrk's own work is the same: wrk … -- known SEED
local count = 0
local seed = "0"
local field = "x-token"
function init(args)
  wrk.path = "/" .. args[1]
  seed = args[2]
  if args[1] == "known" then field = "authorization" end
  math.randomseed(tonumber(seed))
end
function request()
  count = count + 1
  if count % 20 == 0 then
    wrk.headers[field] = string.format("Bearer hms_bench_%s_fresh_%032d", seed, count)
  else
    wrk.headers[field] = string.format("Bearer hms_bench_live_%038d", math.random(10000))
  end
  return wrk.format()
end

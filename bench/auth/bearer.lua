-- Asks with one of the live keys of a file, drawn at random for each request, or, steady, for the whole round as clients do that
-- keep a connection; the route that asks nobody gets the same in a field without a meaning, so that wrk's own work is the
-- same: wrk … -- known|steady|open SEED KEYS_FILE
local keys = {}
local field = "x-token"
local steady = nil
function init(args)
  wrk.path = "/" .. (args[1] == "steady" and "known" or args[1])
  if args[1] ~= "open" then field = "authorization" end
  math.randomseed(tonumber(args[2]))
  for key in io.lines(args[3]) do keys[#keys + 1] = "Bearer " .. key end
  if args[1] == "steady" then steady = keys[math.random(#keys)] end
end
function request()
  wrk.headers[field] = steady or keys[math.random(#keys)]
  return wrk.format()
end

-- Asks with one of the live keys of a file, drawn at random; the route that asks nobody gets the same in a field without a
-- meaning, so that wrk's own work is the same: wrk … -- known|open SEED KEYS_FILE
local keys = {}
local field = "x-token"
function init(args)
  wrk.path = "/" .. args[1]
  if args[1] == "known" then field = "authorization" end
  math.randomseed(tonumber(args[2]))
  for key in io.lines(args[3]) do keys[#keys + 1] = "Bearer " .. key end
end
function request()
  wrk.headers[field] = keys[math.random(#keys)]
  return wrk.format()
end

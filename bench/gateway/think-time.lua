-- Waits before each request; the first argument is the mean in milliseconds, which wrk takes as whole ones.
local mean = 0
function init(args) mean = tonumber(args[1]) end
function delay() return math.floor(math.random() * 2 * mean + 0.5) end

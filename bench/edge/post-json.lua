-- Posts a small request as JSON: wrk … -- PATH
function init(args)
  wrk.method = "POST"
  wrk.path = args[1]
  wrk.body = '{"serviceId":"hms.cdf.debate","version":"v1","environment":"default"}'
  wrk.headers["content-type"] = "application/json"
  wrk.headers["authorization"] = "Bearer 0f9a7d2c41b84e6d8a5c3b1e7f20d946"
  wrk.headers["host"] = "localhost"
end

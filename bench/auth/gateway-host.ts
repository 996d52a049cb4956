import { createServer } from "node:http";
import { createProxyEngine, DEFAULT_TRAFFIC_POLICY, type RouteEntry } from "@hms/proxy";
import { GatewayCallers } from "../../apps/dataplane/src/callers/gateway-callers.ts";
import { ServerLink } from "../../apps/dataplane/src/snapshot/server-link.ts";

/**
 * A gateway with a route for everybody, /open, and one for known callers, /known:
 * `node gateway-host.ts PORT COUNTS_PORT UPSTREAM_PORT SOCKET TOKEN_FILE MOST_REMEMBERED`.
 */
const [port = "", countsPort = "", upstreamPort = "", kernelSocket = "", dataplaneToken = "", most = ""] =
  process.argv.slice(2);
const link = new ServerLink({ kernelSocket, dataplaneToken });
const callers = new GatewayCallers(link, { mostRemembered: Number(most) });
callers.want(true);
const engine = createProxyEngine({ callers });
const auth = { isOptional: false, roles: ["operator"], permission: "", needsMfa: false, mfaMaxAgeMs: 0 };
const routes: RouteEntry[] = [
  { path: "/open", methods: [] },
  { path: "/known", methods: [], rules: { auth } },
];
const endpoint = { host: "127.0.0.1", port: Number(upstreamPort), state: "active", weight: 1000, revision: 1 } as const;
const endpoints = ["a", "b", "c"].map((id) => ({ ...endpoint, id }));
const service = { environment: "default", name: "upstream", policy: DEFAULT_TRAFFIC_POLICY, routes, endpoints };
engine.apply({ environments: [{ name: "default" }], services: [service] });
createServer((_, response) => response.end(callers.metrics())).listen(Number(countsPort), "127.0.0.1");
engine.createServer(engine.gatewayHandler).listen(Number(port), "127.0.0.1");
process.on("SIGTERM", () => process.exit());

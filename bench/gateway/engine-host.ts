import { createProxyEngine, DEFAULT_TRAFFIC_POLICY } from "@hms/proxy";

/** Serves a gateway with everything on, as the data plane does: `node engine-host.ts PORT UPSTREAM_PORT`. */
const [port, upstreamPort] = process.argv.slice(2).map(Number) as [number, number];
const engine = createProxyEngine();
engine.apply({
  environments: [{ name: "default" }],
  services: [
    {
      environment: "default",
      name: "upstream",
      policy: DEFAULT_TRAFFIC_POLICY,
      routes: [
        { path: "/", methods: ["GET", "POST"] },
        { path: "/users/{id}", methods: ["GET"] },
        { path: "/files/*", methods: [] },
      ],
      endpoints: ["a", "b", "c"].map((id) => ({
        id,
        host: "127.0.0.1",
        port: upstreamPort,
        state: "active" as const,
        weight: 1000,
        revision: 1,
      })),
    },
  ],
});
engine.createServer(engine.gatewayHandler).listen(port, "127.0.0.1");

import type { Platform } from "./platform.ts";

/** What differs between two versions of the echo service. */
export interface EchoVersion {
  name?: string;
  version: string;
  replicas?: number;
  /** Further keys of `scaling`, as between braces; default `by: none`. */
  scaling?: string;
  /** How long a replica may take to become healthy; default 30s. */
  startTimeout?: string;
  /** JavaScript that runs before the server listens. */
  before?: string;
  /** How its health is checked; default by GET. */
  check?: "http" | "tcp";
  /** Further lines under `run`, indented. */
  run?: string;
  /** How a version replaces the other beside the deadline: keys of `rollout`, as between braces. */
  rollout?: string;
  /** Further lines of its route, each indented by four spaces. */
  route?: string;
  /** Further manifest lines. */
  manifest?: string;
}

/** A small HTTP service of plain Node that says its version and pid; `GET /echo` at the gateway. */
export function echoService(platform: Platform, options: EchoVersion): string {
  const { name = "echo-svc", version, replicas = 2, startTimeout = "30s", before = "", manifest = "" } = options;
  const { check = "http", run = "", route = "", rollout = "", scaling = "by: none" } = options;
  return platform.service(
    name,
    `name: ${name}
version: "${version}"
run:
  command: exec node server.js
${run}
routes:
  - path: /${name}
    methods: [GET, POST]
${route}
scaling: {min: ${replicas}, max: 20, ${scaling}}
health:
  ${check === "tcp" ? "tcp: true" : "http: /healthz"}
  interval: 200ms
  min_healthy_time: 200ms
  start_timeout: ${startTimeout}
rollout: {deadline: 60s${rollout ? `, ${rollout}` : ""}}
${manifest}`,
    {
      "server.js": `const http = require("node:http");
${before}
const server = http.createServer((request, response) => {
  if (request.url === "/healthz") return response.end("ok");
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ version: ${JSON.stringify(version)}, pid: process.pid, replica: process.env.HMS_REPLICA, bytes: Buffer.concat(chunks).length, principal: request.headers["x-hms-principal"], authorization: request.headers.authorization }));
  });
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
`,
    },
  );
}

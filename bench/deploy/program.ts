/** What a version of the program does wrong. */
export type Fault = "none" | "crash after 5 s" | "slow start" | "failing gate" | "missing program";

/** A version of the program that is deployed again and again. */
export interface ProgramVersion {
  version: string;
  fault: Fault;
  strategy: "rolling" | "canary" | "blue-green";
}

/** Answers its version, at once, after `?after=MS`, or over a WebSocket that echoes (RFC 6455, small text frames only). */
export const PROGRAM = `const http = require("node:http");
const { createHash } = require("node:crypto");
const version = process.env.APP_VERSION;
const server = http.createServer((request, response) => {
  if (request.url === "/healthz") return response.end("ok");
  if (request.url === "/values") return response.end(process.env.APP_FAULT === "failing gate" ? "RED" : "GREEN");
  const after = /after=(\\d+)/.exec(request.url);
  setTimeout(() => response.end(version), after ? Number(after[1]) : 0);
});
server.keepAliveTimeout = 120000;
server.on("upgrade", (request, socket) => {
  const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: " + accept + "\\r\\n\\r\\n");
  let rest = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 6 && rest.length >= 6 + (rest[1] & 127)) {
      const size = rest[1] & 127;
      if ((rest[0] & 15) === 8) return socket.end(Buffer.from([0x88, 0]));
      const data = rest.subarray(6, 6 + size).map((byte, index) => byte ^ rest[2 + (index & 3)]);
      socket.write(Buffer.concat([Buffer.from([0x81, data.length]), data]));
      rest = rest.subarray(6 + size);
    }
  });
});
const listen = () => server.listen(Number(process.env.PORT), "127.0.0.1");
if (process.env.APP_FAULT === "slow start") setTimeout(listen, 4000);
else listen();
if (process.env.APP_FAULT === "crash after 5 s") setTimeout(() => process.exit(3), 5000);
process.on("SIGTERM", () => { server.close(() => process.exit(0)); server.closeIdleConnections(); });
`;

const ROLLOUTS: Record<ProgramVersion["strategy"], string> = {
  rolling: "strategy: rolling, max_surge: 1",
  canary: "strategy: canary, warm: 1s, steps: [{share: 10%, hold: 1s}, {share: 50%, hold: 1s}]",
  "blue-green": "strategy: blue-green, warm: 1s",
};

/** The manifest of a version; a program that crashes after 5 s has to stay healthy for longer before it is relied on. */
export function manifestOf({ version, fault, strategy }: ProgramVersion): string {
  const healthy = fault === "crash after 5 s" ? "8s" : "300ms";
  return `name: app
version: "${version}"
run: {command: exec node ${fault === "missing program" ? "missing" : "server"}.js}
routes: [{path: /app}, {path: /app/*}]
scaling: {min: 3}
health: {http: /healthz, interval: 200ms, start_timeout: 15s, min_healthy_time: ${healthy}}
gates: [{gve: /values}]
rollout: {${ROLLOUTS[strategy]}, drain_timeout: 20s, deadline: 2m}
env: {APP_VERSION: "${version}", APP_FAULT: "${fault}"}
`;
}

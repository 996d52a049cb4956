import { echoContract, echoKernel } from "@hms/testkit";
import { serveSocket } from "@hms/wire";

// The other process of wire-load.soak.ts: wire-load-server.ts PATH. It says how much memory it has when asked.
const CHUNK = "x".repeat(1 << 19);
const kernel = echoKernel(echoContract(), {
  async *serverStream({ value }) {
    for (let n = 0; n < Number(value); n += 1) yield { value: CHUNK };
  },
  async clientStream(requests) {
    let received = 0;
    for await (const { value } of requests) received += value.length;
    return { value: String(received) };
  },
});
const server = await serveSocket(kernel, { path: process.argv[2] as string });
process.on("message", () => {
  globalThis.gc?.();
  process.send?.({ rss: process.memoryUsage().rss, connections: server.connections });
});
process.on("disconnect", () => process.exit());
process.send?.("ready");

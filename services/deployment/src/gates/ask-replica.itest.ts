import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { type AskedReplica, askReplica } from "./ask-replica.ts";

/** A gRPC server as another language's library would write it: one message, uncompressed, and its status as a trailer, or its status alone. */
async function openHealthServer(message: readonly number[], status = 0) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    request.resume();
    response.setHeader("content-type", "application/grpc+proto");
    if (status !== 0) return response.writeHead(200, { "grpc-status": String(status) }).end();
    response.addTrailers({ "grpc-status": "0" });
    return response.end(Buffer.from([0, 0, 0, 0, message.length, ...message]));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { port, asked, [Symbol.dispose]: () => void server.close() };
}

const ask = (port: number) =>
  askReplica({ kind: "grpc", service: "payments.v1.Payments" }, {
    port,
    timeoutMs: 5000,
    signal: new AbortController().signal,
  } as AskedReplica);

const SERVING = [0x08, 1];
const NOT_SERVING = [0x08, 2];
const SERVICE_UNKNOWN = [0x08, 3];
const UNIMPLEMENTED = 12;

test.each([
  ["SERVING", SERVING, 0, { verdict: "pass", words: "SERVING" }],
  ["NOT_SERVING", NOT_SERVING, 0, { verdict: "fail", words: "NOT_SERVING" }],
  ["SERVICE_UNKNOWN", SERVICE_UNKNOWN, 0, { verdict: "fail", words: "SERVICE_UNKNOWN" }],
  ["UNKNOWN", [], 0, { verdict: "inconclusive", words: "UNKNOWN" }],
  ["no health service", [], UNIMPLEMENTED, { verdict: "fail", words: expect.stringContaining("no grpc.health.v1") }],
])("grpc.health.v1 says %s", async (_, message, status, look) => {
  using server = await openHealthServer(message, status);
  expect(await ask(server.port)).toEqual(look);
  expect(server.asked).toEqual(["/grpc.health.v1.Health/Check"]);
});

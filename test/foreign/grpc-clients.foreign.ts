import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serveEcho } from "./echo-server.ts";
import { goPeer, missing, output, python } from "./foreign-tools.ts";

const noGo = missing("go");
const noPython = missing("python3");
let server: Awaited<ReturnType<typeof serveEcho>>;
beforeAll(async () => {
  server = await serveEcho();
});
afterAll(() => server[Symbol.asyncDispose]());

const address = () => `127.0.0.1:${server.port}`;
const common = (id: string) => ({
  unary: `hello id=${id} by=operator deadline=true`,
  details: "hms-sys BUSY x",
  large: (3 << 20) + ` id=${id} by=operator deadline=true`.length,
  serverStream: ["a", "b", "c"],
  clientStream: ["a+b+c"],
  bidi: ["re: a", "re: b", "re: c"],
});

describe.skipIf(noGo)(`a stock grpc-go client${noGo ? `: skipped, ${noGo}` : ""}`, () => {
  test("calls our edge in all four ways", async () => {
    expect(JSON.parse(await output(await goPeer(), ["client", address()]))).toEqual({
      ...common("go-1"),
      error: "error NotFound: asked to fail",
      unknown: "error Unimplemented: hms.test.v1.EchoService/Nothing is not served here.",
      late: expect.stringMatching(/^error DeadlineExceeded: /),
      concurrent: 200,
      health: "SERVING",
    });
  });
});

describe.skipIf(noPython)(`a stock grpcio client (Python)${noPython ? `: skipped, ${noPython}` : ""}`, () => {
  test("calls our edge in all four ways", async () => {
    const script = join(import.meta.dirname, "echo_client.py");
    expect(JSON.parse(await output(await python(), [script, address()]))).toEqual({
      ...common("py-1"),
      error: "error NOT_FOUND: asked to fail",
      unknown: "error UNIMPLEMENTED: hms.test.v1.EchoService/Nothing is not served here.",
      late: expect.stringMatching(/^error DEADLINE_EXCEEDED: /),
      concurrent: 100,
    });
  });
});

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serveEcho } from "./echo-server.ts";
import { grpcurl, missing, output } from "./foreign-tools.ts";

const why = missing("go");
let server: Awaited<ReturnType<typeof serveEcho>>;
beforeAll(async () => {
  server = await serveEcho();
});
afterAll(() => server[Symbol.asyncDispose]());

const METHOD = "hms.test.v1.EchoService/Unary";

describe.skipIf(why)(`grpcurl${why ? `: skipped, ${why}` : ""}`, () => {
  const curl = async (...args: string[]) => output(await grpcurl(), ["-plaintext", ...args]);

  test("lists and describes our services by reflection", async () => {
    const address = `127.0.0.1:${server.port}`;
    expect((await curl(address, "list")).trim().split("\n")).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "hms.test.v1.EchoService",
    ]);
    expect(await curl(address, "describe", "hms.test.v1.EchoService")).toContain(
      "rpc Bidi ( stream .google.protobuf.StringValue ) returns ( stream .google.protobuf.StringValue );",
    );
  });

  test("calls them, and prints errors with their details", async () => {
    const address = `127.0.0.1:${server.port}`;
    expect(await curl("-d", '"hello"', "-H", "x-request-id: r-1", address, METHOD)).toContain("hello id=r-1");
    expect(await curl("-d", '"a" "b"', address, "hms.test.v1.EchoService/Bidi")).toBe('"re: a"\n"re: b"\n');
    const failure = await curl("-d", '"details"', address, METHOD).catch((error) => error.stderr);
    expect(failure).toContain("Code: Aborted");
    expect(failure).toContain('"reason": "BUSY"');
    expect(await curl("-d", "{}", address, "grpc.health.v1.Health/Check")).toContain("SERVING");
  });
});

describe("buf curl", () => {
  const curl = (...args: string[]) => output("buf", ["curl", "--http2-prior-knowledge", ...args]);

  test.each(["grpc", "connect", "grpcweb"])("lists and calls our services by reflection, in %s", async (protocol) => {
    const base = `http://127.0.0.1:${server.port}`;
    expect(await curl("--protocol", protocol, "--list-methods", base)).toContain("hms.test.v1.EchoService/Bidi");
    expect(await curl("--protocol", protocol, "-d", '"hello"', `${base}/${METHOD}`)).toContain("hello id=");
    const failure = await curl("--protocol", protocol, "-d", '"details"', `${base}/${METHOD}`).catch(
      (error) => error.stderr,
    );
    // The same bytes in each of them.
    expect(failure).toContain('"value": "CgRCVVNZEgdobXMtc3lzGgsKBmhvbGRlchIBeA"');
  });
});

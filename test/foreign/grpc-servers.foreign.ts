import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { reflectServer } from "@hms/descriptors";
import { connectGrpc, type GrpcTransport, probe, reflectionCall } from "@hms/grpc";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goPeer, missing } from "./foreign-tools.ts";

const why = missing("go");

describe.skipIf(why)(`a stock grpc-go server${why ? `: skipped, ${why}` : ""}`, () => {
  let child: ChildProcess;
  let transport: GrpcTransport;

  beforeAll(async () => {
    child = spawn(await goPeer(), ["server", "127.0.0.1:0"], { stdio: ["pipe", "pipe", "inherit"] });
    const [line] = await once(child.stdout as NodeJS.ReadableStream, "data");
    transport = connectGrpc({ address: `grpc://${String(line).trim()}` });
  });
  afterAll(async () => {
    await transport.close();
    child.stdin?.end();
    await once(child, "exit");
  });

  test("tells its contracts by reflection and is called by them", async () => {
    const { files, services } = await reflectServer(reflectionCall(transport));
    expect(services).toEqual(["helloworld.Greeter"]);
    const method = files.getService("helloworld.Greeter")?.method.sayHello as DescMethodUnary;
    const call = (name: string) => transport.unary(method, { name } as never, { timeoutMs: 5_000 });
    expect(await call("Anna")).toMatchObject({ message: "Hello Anna" });
    await expect(call("")).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "nobody",
      details: { reason: "NO_NAME" },
    });
  });

  test("is alive by its health service", async () => {
    expect(await probe(transport)).toEqual({ alive: true, reason: "" });
  });
});

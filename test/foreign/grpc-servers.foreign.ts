import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { reflectServer } from "@hms/descriptors";
import { Client } from "@hms/ffi";
import { connectGrpc, type GrpcTransport, probe, reflectionCall } from "@hms/grpc";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand, startPlatform } from "../system/platform.ts";
import { goPeer, missing } from "./foreign-tools.ts";

const why = missing("go");

describe.skipIf(why)(`a stock grpc-go server${why ? `: skipped, ${why}` : ""}`, () => {
  let child: ChildProcess;
  let transport: GrpcTransport;
  let address = "";

  beforeAll(async () => {
    child = spawn(await goPeer(), ["server", "127.0.0.1:0"], { stdio: ["pipe", "pipe", "inherit"] });
    const [line] = await once(child.stdout as NodeJS.ReadableStream, "data");
    address = `grpc://${String(line).trim()}`;
    transport = connectGrpc({ address });
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

  // The greeter refuses whoever sends it credentials.
  test("is registered by its address and called from Python, TypeScript, the command line and by REST", async () => {
    await using platform = await startPlatform();
    const { code, stdout, stderr } = await platform.cli("ffi", "register", address);
    expect([code, stdout, stderr]).toEqual([0, "helloworld v1\n", ""]);
    const token = readFileSync(
      join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance, "operator.token"),
      "utf8",
    ).trim();
    const kernelSocket = join(platform.data, "run", "kernel.sock");
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const rest = () =>
      fetch(platform.url("/v1/helloworld/SayHello"), { method: "POST", headers, body: '{"name": "REST"}' });
    // The edge hears of a registration a moment after it is answered.
    await waitFor(async () => (await rest()).status !== 404, { describe: "the route to be there" });
    const answered = await rest();
    expect([answered.status, await answered.json()]).toEqual([200, { message: "Hello REST" }]);
    const called = await platform.cli("ffi", "call", "helloworld", "SayHello", "name=CLI");
    expect([called.code, JSON.parse(called.stdout)]).toEqual([0, { message: "Hello CLI" }]);
    await using client = new Client("helloworld", { registryUrl: `unix:${kernelSocket}`, token });
    expect(await client.call("SayHello", { name: "TypeScript" })).toMatchObject({ message: "Hello TypeScript" });
    const program =
      "from hms_ffi.client import Client; print(Client('helloworld').call('SayHello', {'name': 'Python'}))";
    const env = { ...platform.env, HMS_FFI_SOCKET: kernelSocket, HMS_FFI_TOKEN: token };
    const cwd = resolve(import.meta.dirname, "../../sdks/python");
    expect((await runCommand(["python3", "-c", program], env, { cwd })).stdout).toContain("Hello Python");
    const nobody = { ...env, HMS_FFI_TOKEN: "" };
    const refused = await runCommand(["python3", "-c", program], nobody, { cwd });
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("UnauthenticatedError")]);
  });
});

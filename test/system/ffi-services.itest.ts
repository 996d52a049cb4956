import { execFile } from "node:child_process";
import { promisify } from "node:util";
import {
  createFileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { credentials, Client as Grpc, Metadata } from "@grpc/grpc-js";
import { resolveInstance } from "@hms/config";
import { registry } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { auditLevelTests } from "./ffi-services/audit-levels.ts";
import { configOf, deployBoth, killServer, writePolicies } from "./ffi-services/deployed.ts";
import { edgeCallerTests } from "./ffi-services/edge-callers.ts";
import { edgeFaultTests } from "./ffi-services/edge-faults.ts";
import { oneTraceTests } from "./ffi-services/one-trace.ts";
import type { Asked } from "./ffi-services/orders.ts";
import { printedSettingsTests } from "./ffi-services/printed-settings.ts";
import { restartTests } from "./ffi-services/restarts.ts";
import { BOTH_WAYS, POLICIES, Scene, until } from "./ffi-services/scene.ts";
import { slowReaderTests } from "./ffi-services/slow-reader.ts";
import { stockServerTests } from "./ffi-services/stock-server.ts";
import { type Platform, startPlatform } from "./platform.ts";

const FULL_NAMES = {
  "demo.orders": "demo.orders.v1.OrdersService",
  "demo.ledger": "demo.ledger.v1.LedgerService",
};

let platform: Platform;
let scene: Scene;
const ask = <T>(program: string, asked: Asked) => scene.ask<T>(program, asked);
const answerOf = <T>(program: string, asked: Asked) => scene.answerOf<T>(program, asked);

beforeAll(async () => {
  platform = await startPlatform();
  scene = new Scene(platform);
  writePolicies(platform, POLICIES);
  await deployBoth(platform);
  for (const [program, service] of BOTH_WAYS) {
    const request = { numbers: [1, 2, 3] };
    await until(() => answerOf(program, { do: "call", service, method: "Add", request }), `${service} can be called`);
  }
}, 240_000);

afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

describe.each(BOTH_WAYS)("%s calls %s directly", (program, service, callee) => {
  test("and gets answers, one or many", async () => {
    const added = await answerOf(program, { do: "call", service, method: "Add", request: { numbers: [1, 2, 3] } });
    expect(added).toEqual({ sum: 6 });
    const counted = await answerOf(program, { do: "stream", service, method: "Count", request: { to: 3 } });
    expect(counted).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  });

  test("as itself, with its deadline", async () => {
    const who = await answerOf<{ principal: string; roles: string[]; remainingMs: number }>(program, {
      do: "call",
      service,
      method: "Who",
      timeoutMs: 4000,
    });
    expect(who.principal).toBe(`service:default/${program}`);
    expect(who.roles).toContain(`service:${program}`);
    expect(who.remainingMs).toBeGreaterThan(1000);
    expect(who.remainingMs).toBeLessThanOrEqual(4000);
    const late = await ask(program, { do: "call", service, method: "Slow", request: { seconds: 20 }, timeoutMs: 300 });
    expect(late.error?.code).toBe("DEADLINE_EXCEEDED");
    const told = async () => (await answerOf<unknown[]>(callee, { do: "notes" })).includes("slow was cancelled");
    await until(told, "the callee hears that nobody waits any more");
  });
});

test("a contract of a FileDescriptorSet keeps its types", async () => {
  const item = await answerOf<object>("ledger", {
    do: "call",
    service: "demo.stock",
    method: "GetItem",
    request: { sku: "s-1" },
  });
  expect(item).toMatchObject({ sku: "s-1", counted: expect.stringContaining("1970-01-01") });
});

test("what no policy allows is PERMISSION_DENIED", async () => {
  const { error } = await ask("orders", { do: "call", service: "demo.stock", method: "GetItem" });
  expect(error?.code).toBe("PERMISSION_DENIED");
});

test.each(BOTH_WAYS)(
  "%s loses %s within two seconds when the policy goes, and gets it back",
  async (program, service) => {
    const code = async () => {
      const { error } = await ask(program, { do: "call", service, method: "Add", request: { numbers: [1] } });
      return error?.code ?? "OK";
    };
    expect(await code()).toBe("OK");
    writePolicies(
      platform,
      POLICIES.filter((policy) => policy.service !== service),
    );
    await waitFor(async () => (await code()) === "PERMISSION_DENIED", { deadlineMs: 2000, describe: "a denial" });
    writePolicies(platform, POLICIES);
    await until(async () => (await code()) === "OK", "the call is allowed again");
  },
);

describe("the operator calls the same methods", () => {
  test("with hms-sys ffi call", async () => {
    for (const service of ["demo.ledger", "demo.orders"]) {
      const { code, stdout, stderr } = await platform.cli("ffi", "call", service, "Add", '{"numbers": [4, 5]}');
      expect([code, stderr]).toEqual([0, ""]);
      expect(Number(JSON.parse(stdout).sum)).toBe(9);
    }
    const { stdout } = await platform.cli("ffi", "call", "demo.stock", "GetItem", '{"sku": "s-1"}');
    expect(JSON.parse(stdout)).toEqual({ sku: "s-1", pieces: "9007199254740993", counted: "1970-01-01T00:00:00Z" });
  });

  test("with curl at the gateway", async () => {
    const { token } = configOf(platform);
    const curl = async (path: string, body: object) => {
      const header = ["-H", `authorization: Bearer ${token}`, "-H", "content-type: application/json"];
      const { stdout } = await promisify(execFile)("curl", [
        "-s",
        ...header,
        "-d",
        JSON.stringify(body),
        platform.url(path),
      ]);
      return stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
    };
    for (const service of ["demo.ledger", "demo.orders"]) {
      const [{ sum }] = await curl(`/v1/${service}/Add`, { numbers: [4, 5] });
      expect(Number(sum)).toBe(9);
      const counted = await curl(`/v1/${service}/Count`, { to: 2 });
      expect(counted.map(({ n }) => Number(n))).toEqual([1, 2]);
    }
    expect(await curl("/v1/demo.stock/GetItem", { sku: "s-1" })).toMatchObject([{ pieces: "9007199254740993" }]);
  });

  test("by gRPC on the local socket", async () => {
    const { token } = configOf(platform);
    const { kernelSocket } = resolveInstance({ instance: platform.instance, data: platform.data });
    await using transport = connectSocket({ path: kernelSocket, token });
    const grpc = new Grpc(`unix:${kernelSocket}`, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${token}`);
    const call = async (serviceId: string, name: string, request: JsonValue) => {
      const { fileDescriptorSet } = await createClient(registry.RegistryService, transport).getContract({ serviceId });
      const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));
      const service = [...files].find((one) => one.kind === "service" && one.typeName.startsWith(`${serviceId}.`));
      const method = service?.kind === "service" && service.methods.find((one) => one.name === name);
      if (!method) throw new Error(`${serviceId} has no ${name}.`);
      const encode = (message: Message) => Buffer.from(toBinary(method.input, message));
      const answer = await new Promise<Message>((resolve, reject) => {
        grpc.makeUnaryRequest(
          `/${method.parent.typeName}/${name}`,
          encode,
          (bytes) => fromBinary(method.output, bytes),
          fromJson(method.input, request, { registry: files }),
          metadata,
          (error, message) => (message ? resolve(message) : reject(error)),
        );
      });
      return toJson(method.output, answer, { registry: files }) as Record<string, unknown>;
    };
    try {
      for (const service of ["demo.ledger", "demo.orders"]) {
        expect(Number((await call(service, "Add", { numbers: [4, 5] })).sum)).toBe(9);
      }
      expect(await call("demo.stock", "GetItem", { sku: "s-1" })).toMatchObject({ pieces: "9007199254740993" });
    } finally {
      grpc.close();
    }
  });
});

stockServerTests(() => scene);
oneTraceTests(() => scene);
edgeCallerTests(() => scene);
printedSettingsTests(() => scene);
edgeFaultTests(() => scene);
slowReaderTests(() => scene);
auditLevelTests(() => scene);

describe.each(BOTH_WAYS)("%s starts calls of %s that outlive it", (program, service, callee) => {
  const start = (method: string, request: object) => {
    const callback = { service: FULL_NAMES[service], method: "Note" };
    return answerOf<string>(program, { do: "start", service, method, request, callback });
  };
  const result = (id: string) => ask(program, { do: "result", id });
  const hearsOf = (id: string) =>
    until(
      async () => JSON.stringify(await answerOf(callee, { do: "notes" })).includes(id),
      `${callee} is called back for ${id}`,
    );

  test("and gets their results; the callback is told", async () => {
    const id = await start("Slow", { seconds: 0.2 });
    expect((await result(id)).answer).toEqual({ slept: 0.2 });
    expect(await answerOf(program, { do: "status", id })).toBe("succeeded");
    await hearsOf(id);
  });

  test("and cancels them", async () => {
    const id = await start("Slow", { seconds: 60 });
    await answerOf(program, { do: "cancel", id });
    expect((await result(id)).error?.code).toBe("CANCELLED");
    await hearsOf(id);
  });

  test("and they survive a server that is killed", async () => {
    const id = await start("Slow", { seconds: 2 });
    const waiting = result(id);
    await killServer(platform);
    expect((await waiting).answer).toEqual({ slept: 2 });
    await hearsOf(id);
  }, 90_000);
});

restartTests(() => scene);

describe("events", () => {
  const heardBy = (program: string) => answerOf<{ topic: string; data: { n: number } }[]>(program, { do: "heard" });

  test.each(BOTH_WAYS)("that %s publishes live are heard by wildcard", async (program, _service, other) => {
    await answerOf(other, { do: "subscribe", pattern: `demo.live.${program}.*` });
    const topic = `demo.live.${program}.done`;
    await until(async () => {
      await answerOf(program, { do: "publish", topic, data: { n: 1 } });
      return (await heardBy(other)).some((event) => event.topic === topic && event.data.n === 1);
    }, "a live event");
  });

  test.each(BOTH_WAYS)(
    "that %s publishes durably survive a server that is killed",
    async (program, _service, other) => {
      const topic = `demo.durable.${program}.made`;
      await answerOf(other, { do: "subscribe", pattern: `demo.durable.${program}.**`, group: "g" });
      await until(async () => {
        await answerOf(program, { do: "publish", topic, data: { n: 0 }, durable: true });
        return (await heardBy(other)).some((event) => event.topic === topic);
      }, "the group has begun");
      const publish = (n: number) => answerOf(program, { do: "publish", topic, data: { n }, durable: true });
      for (let n = 1; n <= 10; n += 1) await publish(n);
      const killed = killServer(platform);
      for (let n = 11; n <= 30; n += 1) await publish(n);
      await killed;
      const wanted = Array.from({ length: 31 }, (_, n) => n);
      let heard: number[] = [];
      await waitFor(
        async () => {
          heard = (await heardBy(other)).filter((event) => event.topic === topic).map(({ data }) => data.n);
          return wanted.every((n) => heard.includes(n));
        },
        { deadlineMs: 60_000, describe: () => `all of 0 to 30; ${other} heard ${heard}` },
      );
    },
    120_000,
  );
});

test("direct calls go on while the server is killed and comes back", async () => {
  const request = { numbers: [1, 2] };
  for (const [program, service] of BOTH_WAYS) {
    await answerOf(program, { do: "often", service, method: "Add", request });
    await until(async () => (await answerOf<number>(program, { do: "counting" })) > 50, "many calls");
  }
  await killServer(platform);
  for (const [program] of BOTH_WAYS) {
    const { calls, failures } = await answerOf<{ calls: number; failures: string[] }>(program, { do: "counted" });
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(100);
  }
}, 60_000);

import { echoContract, openTestPlatform, type TestPlatform } from "@hms/direct-calls/testing";
import { tempFolder, waitFor } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type CallContext,
  Client,
  createClient,
  DeadlineExceededError,
  FfiError,
  type Interceptor,
  InvalidArgumentError,
  type Methods,
  NotFoundError,
  PermissionDeniedError,
  type ServeOptions,
  serve,
  UnauthenticatedError,
  UnimplementedError,
} from "./index.ts";

let stack = new AsyncDisposableStack();
let platform: TestPlatform;
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  platform = stack.use(await openTestPlatform());
});
afterEach(() => stack.disposeAsync());

async function served(methods: Methods, options: Partial<ServeOptions> = {}) {
  const service = await serve({ serviceId: "hms.cdf.debate", methods, ...platform.connect("svc"), ...options });
  stack.use(service);
  await service.registered;
  return service;
}

function clientOf(options: object = {}, serviceId = "hms.cdf.debate"): Client {
  const client = new Client(serviceId, { ...platform.connect(), ...options });
  stack.use(client);
  return client;
}

async function all<T>(answers: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const answer of answers) found.push(answer);
  return found;
}

const evaluation = {
  input: {
    type: "object",
    properties: {
      policy_id: { type: "string" },
      resource: { type: "object", additionalProperties: { type: "string" } },
    },
    required: ["policy_id"],
  },
  output: { type: "object", properties: { allowed: { type: "boolean" }, score: { type: "number" } } },
};

describe("a service and its caller", () => {
  test("need nothing but methods and names: untyped objects go both ways", async () => {
    await served({ EvaluatePolicy: ({ policy_id }: { policy_id: string }) => ({ policy_id, ok: [1, null, "x"] }) });
    const answer = await clientOf().call("EvaluatePolicy", { policy_id: "p-1" });
    expect(answer).toEqual({ policy_id: "p-1", ok: [1, null, "x"] });
  });

  test("described by JSON Schemas are checked before anything is sent, with the nearest names", async () => {
    await served({
      EvaluatePolicy: {
        ...evaluation,
        handler: ({ policy_id, resource }: { policy_id: string; resource: Record<string, string> }) => ({
          allowed: policy_id === "p-1" && resource.kind === "file",
          score: 0.5,
        }),
      },
    });
    const client = clientOf();
    const request = { policy_id: "p-1", resource: { kind: "file" } };
    expect(await client.call("evaluate_policy", request)).toEqual({ allowed: true, score: 0.5 });
    await expect(client.call("EvaluatePolicy", { policy: "p-1" })).rejects.toThrow(/policy.*did you mean policy_id/);
    await expect(client.call("EvaluatePolcy", {})).rejects.toThrow(
      "hms.cdf.debate v1 has no method EvaluatePolcy. Did you mean EvaluatePolicy?",
    );
    await expect(client.call("EvaluatePolcy", {})).rejects.toBeInstanceOf(UnimplementedError);
    await expect(client.call("EvaluatePolicy", { policy: 1 })).rejects.toBeInstanceOf(InvalidArgumentError);
  });

  test("stream in all directions, and stop when the caller leaves", async () => {
    const stopped: string[] = [];
    await served({
      async *Count({ to }: { to: number }, { signal }: CallContext) {
        try {
          for (let n = 1; n <= to && !signal.aborted; n += 1) yield { n };
        } finally {
          stopped.push("count");
        }
      },
      Sum: {
        streaming: "client",
        handler: async (numbers: AsyncIterable<{ n: number }>) => ({
          sum: (await all(numbers)).reduce((sum, { n }) => sum + n, 0),
        }),
      },
      Double: {
        streaming: "both",
        handler: async function* (numbers: AsyncIterable<{ n: number }>) {
          for await (const { n } of numbers) yield { n: 2 * n };
        },
      },
    });
    const client = clientOf();
    expect(await all(client.stream("Count", { to: 3 }))).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
    expect(await client.call("Sum", [{ n: 1 }, { n: 2 }])).toEqual({ sum: 3 });
    expect(await all(client.stream("Double", [{ n: 1 }, { n: 2 }]))).toEqual([{ n: 2 }, { n: 4 }]);
    stopped.length = 0;
    for await (const { n } of client.stream<{ n: number }>("Count", { to: 1e9 })) if (n === 3) break;
    await waitFor(() => stopped.length === 1, { describe: "the handler to stop" });
    await expect(client.call("Count", { to: 1 })).rejects.toThrow('use client.stream("Count", …)');
    await expect(all(client.stream("Sum", []))).rejects.toThrow('use client.call("Sum", …)');
  });

  test("with a generated contract speak its messages, typed and untyped alike", async () => {
    const contract = echoContract("hms.cdf.debate.v1");
    await served(
      {
        Read: (value: string) => `read ${value}`,
        Write: (value: string) => value,
        List: async function* (value: string) {
          yield* value.split(",");
        },
        Collect: async (values: AsyncIterable<string>) => (await all(values)).join("+"),
        Converse: (values: AsyncIterable<string>) => values,
      },
      { contract, serviceId: undefined as never },
    );
    const typed = createClient(contract, platform.connect());
    stack.use(typed);
    expect((await typed.read({ value: "x" })).value).toBe("read x");
    expect((await all(typed.list({ value: "a,b" }))).map(({ value }) => value)).toEqual(["a", "b"]);
    await expect(typed.read({ value: 7 } as never, { timeoutMs: 0 })).rejects.toBeInstanceOf(DeadlineExceededError);
    const client = clientOf();
    expect(await client.call("Read", "x" as never)).toBe("read x");
    expect(await client.call("Collect", ["a", "b"])).toBe("a+b");
  });

  test("must fit together: methods without handler and handlers without method are named", async () => {
    const contract = echoContract("hms.cdf.debate.v1");
    const none = () => ({});
    const methods = { Raed: none, Write: none, List: none, Collect: none, Converse: none };
    await expect(served(methods, { contract })).rejects.toThrow(
      "The contract's method Read has no handler. Raed is no method of the contract; did you mean Read?",
    );
  });
});

describe("errors", () => {
  test("arrive as the class of their code, with reason, metadata and violations", async () => {
    await served({
      GetPatient: () => {
        throw new NotFoundError("No patient p-1.", {
          reason: "PATIENT_UNKNOWN",
          metadata: { id: "p-1" },
          fieldViolations: [{ field: "id", description: "is unknown" }],
          retryAfterMs: 1_500,
        });
      },
      Break: () => {
        throw new TypeError("a secret");
      },
    });
    const client = clientOf();
    const error = await client.call("GetPatient").catch((thrown: unknown) => thrown as FfiError);
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error).toMatchObject({
      name: "NotFoundError",
      code: "NOT_FOUND",
      statusCode: 5,
      message: "No patient p-1.",
      reason: "PATIENT_UNKNOWN",
      violations: [{ field: "id", description: "is unknown" }],
      details: { metadata: { id: "p-1" }, retryAfterMs: 1_500 },
    });
    await expect(client.call("Break")).rejects.toMatchObject({
      code: "INTERNAL",
      message: expect.not.stringContaining("secret"),
    });
  });

  test("end a call at its deadline, here and there", async () => {
    let reason: unknown;
    await served({
      Hang: (_: object, { signal }: CallContext) =>
        new Promise(() => signal.addEventListener("abort", () => (reason = signal.reason))),
    });
    await expect(clientOf().call("Hang", {}, { timeoutMs: 50 })).rejects.toBeInstanceOf(DeadlineExceededError);
    await waitFor(() => reason, { describe: "the handler to be told" });
  });

  test("of an answer that does not fit are the service's, not the caller's", async () => {
    await served({ EvaluatePolicy: { ...evaluation, handler: () => ({ allowed: "perhaps" }) } });
    await expect(clientOf().call("EvaluatePolicy", { policy_id: "p" })).rejects.toMatchObject({ code: "INTERNAL" });
  });

  test("say which name or setting is wrong", () => {
    expect(() => new Client("hms.cdf.debate.v1", platform.connect())).not.toThrow();
    expect(() => new Client("HMS Debate", platform.connect())).toThrow(/"HMS Debate" is no service id/);
    expect(() => new Client("hms.cdf.debate", { registryUrl: "pigeon://" })).toThrow(FfiError);
  });
});

describe("access", () => {
  test("is what tickets say: the handler knows who calls, and the registry hears of it", async () => {
    const service = await served({ Whoami: (_: object, { principal }: CallContext) => ({ ...principal }) });
    expect(await clientOf().call("Whoami")).toEqual({ kind: "user", id: "anna", roles: [], mfa: false });
    await service.close();
    expect(platform.memory.reported).toMatchObject([
      { method: "DebateService/Whoami", principal: "user:anna", code: 0 },
    ]);
  });

  test("is refused for methods that the ticket does not name, and told of", async () => {
    platform.memory.allowed = { "DebateService/Look": "none" };
    const service = await served({ Look: () => ({}), Touch: () => ({}) });
    const client = clientOf();
    await client.call("Look");
    await expect(client.call("Touch")).rejects.toBeInstanceOf(PermissionDeniedError);
    await service.close();
    expect(platform.memory.reported).toMatchObject([{ method: "DebateService/Touch", code: 7 }]);
  });

  test("without a ticket goes through the platform, which decides", async () => {
    await served({ Whoami: (_: object, { principal }: CallContext) => ({ id: principal.id }) });
    platform.memory.allowed = {};
    await expect(clientOf().call("Whoami")).rejects.toBeInstanceOf(UnauthenticatedError);
  });

  test("is renewed when tickets are revoked, without the caller noticing", async () => {
    await served({ Look: () => ({ ok: true }) });
    const client = clientOf();
    await client.call("Look");
    platform.memory.revoke({});
    for (let i = 0; i < 5; i += 1) expect(await client.call("Look")).toEqual({ ok: true });
  });

  test("needs a token that the platform knows", async () => {
    await served({ Look: () => ({}) });
    await expect(clientOf({ token: "forged" }).call("Look")).rejects.toBeInstanceOf(UnauthenticatedError);
  });
});

describe("interceptors", () => {
  test("see and change calls on both sides, the first one outermost", async () => {
    const seen: string[] = [];
    const noting =
      (name: string): Interceptor =>
      async (call, next) => {
        seen.push(`${name} ${call.method} ${call.metadata.mark ?? ""}`);
        const answer = await next({ ...call, metadata: { ...call.metadata, mark: name } });
        return { ...(answer as object), [name]: true };
      };
    await served({ Look: () => ({ ok: true }) }, { interceptors: [noting("server")] });
    const client = clientOf({ interceptors: [noting("outer"), noting("inner")] });
    expect(await client.call("Look")).toEqual({ ok: true, server: true, inner: true, outer: true });
    expect(seen).toEqual(["outer Look ", "inner Look outer", "server Look inner"]);
  });
});

describe("through failures", () => {
  test("calls go on while the registry is away, and services come back with it", async () => {
    platform.memory.renewMs = 50;
    await served({ Look: () => ({ ok: true }) });
    const client = clientOf();
    await client.call("Look");
    await platform.stop();
    for (let i = 0; i < 20; i += 1) expect(await client.call("Look")).toEqual({ ok: true });
    const before = platform.memory.registrations;
    await platform.restart();
    await waitFor(() => platform.memory.registrations > before, { describe: "the renewal" });
    expect(await client.call("Look")).toEqual({ ok: true });
  });

  test("a service that is replaced loses no call", async () => {
    const look = (name: string) => ({ Look: () => ({ name }) });
    const old = await served(look("old"));
    const client = clientOf();
    let going = true;
    const seen = new Set<string>();
    const calling = (async () => {
      while (going) seen.add((await client.call<{ name: string }>("Look")).name);
    })();
    await waitFor(() => seen.has("old"), { describe: "the first answers" });
    await served(look("new"));
    await old.close();
    await waitFor(() => seen.has("new"), { describe: "answers of the new one" });
    going = false;
    await calling;
  });

  test("running calls are finished when a service closes", async () => {
    let release = () => {};
    const begun = Promise.withResolvers<void>();
    const service = await served({
      Slow: () =>
        new Promise((resolve) => {
          release = () => resolve({ done: true });
          begun.resolve();
        }),
    });
    const call = clientOf().call("Slow");
    await begun.promise;
    const closing = service.close();
    release();
    expect(await call).toEqual({ done: true });
    await closing;
  });

  test("a program ends by itself when its work is done", async () => {
    await served({ Look: () => ({ ok: true }) });
    using folder = tempFolder({
      "main.ts": `
        import { Client } from ${JSON.stringify(new URL("./index.ts", import.meta.url).href)};
        const client = new Client("hms.cdf.debate");
        console.log(JSON.stringify(await client.call("Look")));`,
    });
    const env = { ...process.env, HMS_FFI_SOCKET: platform.path, HMS_FFI_TOKEN: "anna" };
    const { execFile } = await import("node:child_process");
    const { promisify } = await import("node:util");
    const { stdout } = await promisify(execFile)(process.execPath, [`${folder.path}/main.ts`], {
      env,
      timeout: 20_000,
    });
    expect(stdout).toBe('{"ok":true}\n');
  });
});

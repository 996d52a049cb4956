import { mesh, registry } from "@hms/contracts";
import { describe, expect, test, vi } from "vitest";
import {
  type AuditEvent,
  anonymous,
  componentPrincipal,
  HmsError,
  implement,
  Kernel,
  type KernelOptions,
  type Principal,
  type ServiceImplementation,
} from "./index.ts";

type Mesh = ServiceImplementation<typeof mesh.MeshService>;

function meshKernel(own: Partial<Mesh>, options: Partial<KernelOptions> = {}) {
  const events: AuditEvent[] = [];
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
  };
  const all = Object.fromEntries(mesh.MeshService.methods.map((method) => [method.localName, unused]));
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: {
      decide: ({ principal }) =>
        principal.kind === "anonymous" ? { allowed: false, reason: "nobody known" } : { allowed: true },
    },
    audit: { accepts: true, record: (event) => events.push(event) },
    ...options,
  });
  kernel.register(implement(mesh.MeshService, { ...all, ...own } as Mesh));
  const client = kernel.client(mesh.MeshService, componentPrincipal("test"));
  return { kernel, client, events };
}

const service = { environment: "default", name: "receipt-svc" };

describe("a call through the kernel", () => {
  test("reaches its handler by reference and fills the answer's defaults", async () => {
    let seen: unknown;
    const { client } = meshKernel({
      setService: (request) => {
        seen = request.service;
        return { vip: "127.88.0.1" };
      },
    });
    const request = { service: { $typeName: "hms.sys.mesh.v1.MeshServiceEntry" as const } } as never;
    const answer = await client.setService(request);
    expect(answer).toMatchObject({ vip: "127.88.0.1", snapshotVersion: 0n });
    expect(seen).toBe((request as { service: unknown }).service);
  });

  test("can be routed anew as soon as its service is registered", async () => {
    const { kernel } = meshKernel({});
    const woken = kernel.changed.next(new AbortController().signal, 5000);
    const unused = Object.fromEntries(registry.RegistryService.methods.map(({ localName }) => [localName, () => ({})]));
    kernel.register(implement(registry.RegistryService, unused as never));
    expect(await woken).toBe(true);
    expect([...kernel.services("default")].map(({ name }) => name)).toEqual(["MeshService", "RegistryService"]);
  });

  test("is denied to nobody known, and the denial is audited though reads are not", async () => {
    const { kernel, events } = meshKernel({ getSnapshot: () => ({}) });
    const client = kernel.client(mesh.MeshService, anonymous);
    await expect(client.getSnapshot({})).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    expect(events).toMatchObject([{ outcome: "denied", permission: "mesh:read", reason: "nobody known" }]);
  });

  test("leaves an audit event with the resource if it changes something, none if it only reads", async () => {
    const { client, events } = meshKernel({ setService: () => ({}), getSnapshot: () => ({}) });
    await client.getSnapshot({});
    expect(events).toEqual([]);
    await client.setService({ service });
    expect(events).toMatchObject([{ outcome: "OK", resource: "receipt-svc", permission: "mesh:write" }]);
  });

  test("is refused if it changes something while the audit spool is full; reads go on", async () => {
    const audit = { accepts: false, record: vi.fn() };
    const { client } = meshKernel({ setService: () => ({}), getSnapshot: () => ({}) }, { audit });
    await expect(client.setService({ service })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(client.getSnapshot({})).resolves.toBeDefined();
  });

  test("is answered, and denied, only when its event is kept; a read that is not audited waits for nothing", async () => {
    const kept = Promise.withResolvers<void>();
    const audit = { accepts: true, record: vi.fn(), kept: () => kept.promise };
    const { client, kernel } = meshKernel({ setService: () => ({}), getSnapshot: () => ({}) }, { audit });
    const ends: string[] = [];
    const note = (name: string) => () => void ends.push(name);
    const nobody = kernel.client(mesh.MeshService, anonymous);
    const calls = [
      client.setService({ service }).then(note("change")),
      nobody.getSnapshot({}).catch(note("denial")),
      client.getSnapshot({}).then(note("read")),
    ];
    await calls[2];
    await new Promise((resolve) => setImmediate(resolve));
    expect(ends).toEqual(["read"]);
    kept.resolve();
    await Promise.all(calls);
    expect(ends.sort()).toEqual(["change", "denial", "read"]);
  });

  test("says so if a change was made and its event cannot be kept; errors stay what they are", async () => {
    const audit = { accepts: true, record: vi.fn(), kept: () => Promise.reject(new Error("disk full")) };
    let answer: () => object = () => ({});
    const { client, kernel } = meshKernel({ setService: () => answer() }, { audit });
    await expect(client.setService({ service })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      details: { reason: "AUDIT_NOT_KEPT" },
    });
    answer = () => {
      throw new HmsError("NOT_FOUND", "There is none.");
    };
    await expect(client.setService({ service })).rejects.toMatchObject({ code: "NOT_FOUND" });
    const nobody = kernel.client(mesh.MeshService, anonymous);
    await expect(nobody.getSnapshot({})).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  test("leaves no audit event if it only renewed what was there, unless it fails", async () => {
    let fails = false;
    const { client, events } = meshKernel({
      setService: (_, context) => {
        context.changedNothing();
        if (fails) throw new HmsError("NOT_FOUND", "There is none.");
        return {};
      },
    });
    await client.setService({ service });
    expect(events).toEqual([]);
    fails = true;
    await expect(client.setService({ service })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(events).toMatchObject([{ outcome: "NOT_FOUND" }]);
  });

  test("leaves in its audit event from where it came, which policies decided and how long it took", async () => {
    const decision = { policies: ["p-1"], revision: "0a1b2c3d4e5f", cached: true };
    const policy = { decide: () => ({ allowed: true as const, ...decision }) };
    const { kernel, events } = meshKernel({ setService: () => ({}) }, { policy });
    const entry = kernel.find("hms.sys.mesh.v1.MeshService", "SetService")!;
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    await kernel.unary(
      entry,
      { service },
      {
        caller: { credentials: { transport: "network", peer: "spiffe://x/y" } },
        way: "http",
        source: { address: "10.0.0.9", userAgent: "curl" },
        metadata: { traceparent },
      },
    );
    expect(events).toMatchObject([
      {
        way: "http",
        source: { address: "10.0.0.9", userAgent: "curl", peer: "spiffe://x/y" },
        traceparent,
        decision,
        durationMs: expect.any(Number),
      },
    ]);
  });

  test("that is refused for what is in it leaves an event though its method leaves none, and no caller fills the log with them", async () => {
    const { kernel, events } = meshKernel({
      getSnapshot: () => {
        throw new HmsError("INVALID_ARGUMENT", "That is no snapshot.");
      },
      getTraffic: () => ({}),
    });
    const get = async (principal: Principal, method = "GetSnapshot") => {
      const entry = kernel.find("hms.sys.mesh.v1.MeshService", method)!;
      await kernel.unary(entry, {}, { caller: { principal } }).catch(() => {});
    };
    const [anna, ben]: Principal[] = [
      { kind: "user", id: "anna" },
      { kind: "user", id: "ben" },
    ];
    await get(anna!);
    expect(events).toMatchObject([
      {
        principal: { id: "anna" },
        outcome: "INVALID_ARGUMENT",
        reason: "That is no snapshot.",
        method: expect.stringContaining("GetSnapshot"),
      },
    ]);
    for (let n = 0; n < 100; n += 1) await get(anna!);
    expect(events.length).toBe(20);
    // Who floods hides nobody else, good calls leave nothing, and parts of the platform attack nobody.
    await get(ben!);
    await get(ben!, "GetTraffic");
    await get(componentPrincipal("test"));
    expect(events.slice(20)).toMatchObject([{ principal: { id: "ben" } }]);
    await kernel.noteUnreadable(
      kernel.find("hms.sys.mesh.v1.MeshService", "GetTraffic")!,
      { caller: { principal: ben! } },
      new HmsError("INVALID_ARGUMENT", "The body is not JSON."),
    );
    expect(events.at(-1)).toMatchObject({ principal: { id: "ben" }, reason: "The body is not JSON." });
  });

  test("is denied if the policy fails while deciding", async () => {
    const handler = vi.fn(() => ({}));
    const policy = {
      decide: () => {
        throw new Error("no policy");
      },
    };
    const { client } = meshKernel({ getSnapshot: handler }, { policy });
    await expect(client.getSnapshot({})).rejects.toBeInstanceOf(HmsError);
    expect(handler).not.toHaveBeenCalled();
  });

  test("waits for a policy that has to think", async () => {
    const policy = { decide: async () => ({ allowed: true }) as const };
    const { client } = meshKernel({ getSnapshot: () => ({ version: 7n }) }, { policy });
    await expect(client.getSnapshot({})).resolves.toMatchObject({ version: 7n });
  });

  test("ends at its deadline and tells the handler to stop", async () => {
    let stopped: unknown;
    const { client } = meshKernel({
      getSnapshot: (_, context) =>
        new Promise(() => context.signal.addEventListener("abort", () => (stopped = context.signal.reason))),
    });
    await expect(client.getSnapshot({}, { timeoutMs: 20 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(stopped).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  test("passes deadline, principal and cancellation on to calls made for it", async () => {
    const seen: unknown[] = [];
    const { kernel, client } = meshKernel({
      getSnapshot: async (_, context) => {
        await inner.describeEnvironment({ environment: "default" }, { context });
        return {};
      },
      describeEnvironment: (_, context) => {
        seen.push(context.principal.id, (context.remainingMs ?? 0) <= 500, context.metadata["x-request-id"]);
        return {};
      },
    });
    const inner = kernel.client(mesh.MeshService, componentPrincipal("inner"));
    await client.getSnapshot({}, { timeoutMs: 500, metadata: { "x-request-id": "r-1" } });
    expect(seen).toEqual(["test", true, "r-1"]);
  });

  test("turns whatever a handler throws into INTERNAL without its words, and keeps the cause", async () => {
    const { client } = meshKernel({
      getSnapshot: () => {
        throw new TypeError("secret detail");
      },
    });
    const error: HmsError = await client.getSnapshot({}).then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    expect(error).toMatchObject({ code: "INTERNAL", cause: expect.any(TypeError) });
    expect(error.message).not.toContain("secret");
  });

  test("is UNIMPLEMENTED if no service here offers it", () => {
    const { kernel } = meshKernel({});
    const client = kernel.client(registry.RegistryService, componentPrincipal("test"));
    expect(() => client.list({})).toThrow(expect.objectContaining({ code: "UNIMPLEMENTED" }));
  });
});

describe("a stream through the kernel", () => {
  test("arrives in order and whole", async () => {
    const { client } = meshKernel({
      async *watchSnapshots() {
        yield { snapshot: { version: 1n } };
        yield { snapshot: { version: 2n } };
      },
    });
    const versions: bigint[] = [];
    for await (const { snapshot } of client.watchSnapshots({})) versions.push(snapshot?.version ?? 0n);
    expect(versions).toEqual([1n, 2n]);
  });

  test("tells its handler to stop when the caller leaves", async () => {
    let left: unknown;
    const { client } = meshKernel({
      async *watchSnapshots(_, context) {
        context.signal.addEventListener("abort", () => (left = context.signal.reason));
        for (;;) yield {};
      },
    });
    for await (const _ of client.watchSnapshots({})) break;
    expect(left).toMatchObject({ code: "CANCELLED" });
  });

  test("ends when the caller cancels though the handler waits for something else", async () => {
    const { client } = meshKernel({
      async *watchSnapshots() {
        yield {};
        await new Promise(() => {});
      },
    });
    const controller = new AbortController();
    const read = async () => {
      for await (const _ of client.watchSnapshots({}, { signal: controller.signal })) controller.abort();
    };
    await expect(read()).rejects.toMatchObject({ code: "CANCELLED" });
  });

  const forEver = () =>
    meshKernel({
      async *watchSnapshots() {
        yield {};
        await new Promise(() => {});
      },
    }).kernel;
  const watchAs = (kernel: Kernel, principal: Principal) =>
    kernel.client(mesh.MeshService, principal).watchSnapshots({})[Symbol.asyncIterator]();
  const changed = { code: "UNAUTHENTICATED", details: { reason: "ACCESS_CHANGED" } };

  test.each([
    ["session", { endsAtMs: Date.now() + 60_000 }],
    ["key, which has no end,", {}],
  ])("ends when its principal's %s is taken away, and nobody else's ends with it", async (_, session) => {
    const kernel = forEver();
    const watch = (id: string) => watchAs(kernel, { kind: "user", id, ...session });
    const [anna, ben] = [watch("anna"), watch("ben")];
    await Promise.all([anna.next(), ben.next()]);
    const next = anna.next();
    kernel.endStreams(({ id }) => id === "anna");
    await expect(next).rejects.toMatchObject(changed);
    const bens = ben.next();
    expect(await Promise.race([bens, Promise.resolve("goes on")])).toBe("goes on");
    kernel.endStreams(({ id }) => id === "ben");
    await expect(bens).rejects.toMatchObject(changed);
  });

  test("ends also if access is taken away while it is being decided who calls", async () => {
    const known = Promise.withResolvers<Principal>();
    const { kernel } = meshKernel(
      {
        async *watchSnapshots() {
          yield {};
        },
      },
      { identity: { authenticate: () => known.promise } },
    );
    const entry = kernel.find("hms.sys.mesh.v1.MeshService", "WatchSnapshots");
    const inputs = async function* () {
      yield {};
    };
    const stream = kernel.stream(entry as never, inputs(), {
      caller: { credentials: { transport: "socket" } },
    } as never);
    const first = stream.next();
    kernel.endStreams(({ id }) => id === "anna");
    known.resolve({ kind: "user", id: "anna" });
    await expect(first).rejects.toMatchObject(changed);
  });
});

test("registering a service twice is refused", () => {
  const { kernel } = meshKernel({});
  const again = () => kernel.register(implement(mesh.MeshService, {} as Mesh));
  expect(again).toThrow(HmsError);
});

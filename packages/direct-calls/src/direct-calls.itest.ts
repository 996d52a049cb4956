import { registry } from "@hms/contracts";
import { type Directory, openDirectory, type ServiceKey } from "@hms/directory";
import { MemoryRegistry, type TestInstance } from "@hms/directory/testing";
import {
  anonymous,
  type CallContext,
  type Client,
  componentPrincipal,
  createClient,
  HmsError,
  Kernel,
  type Transport,
} from "@hms/kernel";
import { tempFolder, waitFor } from "@hms/testkit";
import { type SocketServer, serveSocket } from "@hms/wire";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type Channel,
  type ChannelScheme,
  createDirectCalls,
  type DirectCalls,
  type DirectCallsOptions,
  frameSchemes,
} from "./index.ts";
import { type EchoContract, type EchoHandlers, echoContract, kernelOf, texts, valuesOf } from "./testing/index.ts";

const contract = echoContract();
const key: ServiceKey = { environment: "default", serviceId: "hms.test", version: "v1" };

let stack = new AsyncDisposableStack();
let memory = new MemoryRegistry();
beforeEach(() => {
  stack = new AsyncDisposableStack();
  memory = new MemoryRegistry();
});
afterEach(() => stack.disposeAsync());

interface Running extends TestInstance {
  server: SocketServer;
}

async function instance(instanceId: string, own: EchoHandlers, path?: string): Promise<Running> {
  const at = path ?? `${stack.use(tempFolder()).path}/${instanceId}.sock`;
  const server = await serveSocket(kernelOf(contract, own), { path: at, graceMs: 500 });
  stack.defer(() => server.close({ graceMs: 0 }));
  return { instanceId, address: `unix:${server.path}`, server };
}

function callsOf(options: Partial<DirectCallsOptions> = {}): {
  calls: DirectCalls;
  client: Client<EchoContract>;
  directory: Directory;
} {
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(memory.registration);
  const directory = openDirectory({ registry: kernel.client(registry.RegistryService, componentPrincipal("self")) });
  stack.use(directory);
  const calls = createDirectCalls({ directory, ...options });
  stack.use(calls);
  return { calls, directory, client: createClient(contract, calls.transport({ environment: "default" })) };
}

const named = (name: string): EchoHandlers => ({ write: () => ({ value: name }), read: () => ({ value: name }) });

describe("a direct call", () => {
  test("reaches the service that its contract names, in all four kinds", async () => {
    memory.put(key, [
      await instance("a", {
        read: ({ value }) => ({ value: `read ${value}` }),
        async *list({ value }) {
          for (const part of value.split(",")) yield { value: part };
        },
        collect: async (requests) => ({ value: (await valuesOf(requests)).join("+") }),
        async *converse(requests) {
          for await (const { value } of requests) yield { value: `re: ${value}` };
        },
      }),
    ]);
    const { client } = callsOf();
    expect((await client.read({ value: "x" })).value).toBe("read x");
    expect(await valuesOf(client.list({ value: "a,b,c" }))).toEqual(["a", "b", "c"]);
    expect((await client.collect(texts("a", "b"))).value).toBe("a+b");
    expect(await valuesOf(client.converse(texts("a", "b")))).toEqual(["re: a", "re: b"]);
  });

  test("is spread over the instances, and away from one that is slow", async () => {
    const served: Record<string, number> = { a: 0, b: 0, slow: 0 };
    const counting = (name: string, ms: number): EchoHandlers => ({
      read: async () => {
        served[name] = (served[name] ?? 0) + 1;
        const until = performance.now() + ms;
        await waitFor(() => performance.now() >= until, { describe: "a slow answer", intervalMs: 1 });
        return { value: name };
      },
    });
    memory.put(key, [
      await instance("a", counting("a", 0)),
      await instance("b", counting("b", 0)),
      await instance("slow", counting("slow", 60)),
    ]);
    const { client } = callsOf();
    for (let i = 0; i < 20; i += 1) await Promise.all(Array.from({ length: 10 }, () => client.read({ value: "" })));
    expect(served.a).toBeGreaterThan(40);
    expect(served.b).toBeGreaterThan(40);
    expect(served.slow).toBeLessThan(40);
  });

  test("moves on from an instance that is not there, without the caller noticing", async () => {
    const gone = await instance("gone", named("gone"));
    await gone.server.close();
    memory.put(key, [gone, await instance("a", named("a"))]);
    const { client } = callsOf();
    for (let i = 0; i < 20; i += 1) expect((await client.write({ value: "" })).value).toBe("a");
  });

  test("finds the instances that come and leaves those that go", async () => {
    const old = await instance("old", named("old"));
    memory.put(key, [old]);
    const { client } = callsOf();
    expect((await client.write({ value: "" })).value).toBe("old");
    memory.put(key, [await instance("new", named("new"))]);
    await waitFor(async () => (await client.write({ value: "" })).value === "new", { describe: "the new instance" });
    await waitFor(() => old.server.connections === 0, { describe: "the connection to the old one to close" });
  });

  test("finds an instance whose socket appears after it was registered", async () => {
    const path = `${stack.use(tempFolder()).path}/late.sock`;
    memory.put(key, [{ instanceId: "a", address: `unix:${path}` }]);
    const { client } = callsOf();
    await expect(client.write({ value: "" })).rejects.toMatchObject({ details: { reason: "NOT_CONNECTED" } });
    await instance("a", named("late"), path);
    expect((await client.write({ value: "" })).value).toBe("late");
  });

  test("says what to do if no address can be used", async () => {
    memory.put(key, [{ instanceId: "a", address: "quic://h:1" }]);
    const { client } = callsOf();
    await expect(client.read({ value: "" })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      details: { reason: "NO_USABLE_ADDRESS" },
    });
  });

  test("has its deadline and cancellation carried to the callee", async () => {
    let context: CallContext | undefined;
    const hang = (_: unknown, given: CallContext) => {
      context = given;
      return new Promise<never>(() => {});
    };
    memory.put(key, [await instance("a", { read: hang, write: hang })]);
    const { client } = callsOf();
    await expect(client.read({ value: "" }, { timeoutMs: 100 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(context?.remainingMs).toBeLessThanOrEqual(100);
    const controller = new AbortController();
    const call = client.write({ value: "" }, { signal: controller.signal });
    await waitFor(() => context?.method.desc.name === "Write", { describe: "the call to arrive" });
    const cancelled = new Promise((resolve) => context?.signal.addEventListener("abort", resolve));
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
    await cancelled;
  });

  test("carries trace and request id of the call that it is made for, and its own metadata", async () => {
    const seen: unknown[] = [];
    memory.put(key, [
      await instance("a", {
        read: (_, { metadata }) => {
          seen.push(metadata.traceparent, metadata["x-request-id"], metadata.mine);
          return {};
        },
      }),
    ]);
    const { client } = callsOf();
    const outer = kernelOf(contract, {
      write: async (_, context) => client.read({ value: "" }, { context, metadata: { mine: "yes" } }),
    });
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    const metadata = { "x-request-id": "r-7", traceparent };
    await outer.client(contract, anonymous).write({ value: "" }, { metadata });
    expect(seen).toEqual([traceparent, "r-7", "yes"]);
  });
});

describe("a call that failed", () => {
  const failing = (times: number, error: () => HmsError) => {
    const served = { count: 0, keys: [] as unknown[] };
    const handler = (_: unknown, { metadata }: CallContext) => {
      served.count += 1;
      served.keys.push(metadata["x-hms-idempotency-key"]);
      if (served.count <= times) throw error();
      return { value: "at last" };
    };
    return { served, handlers: { read: handler, write: handler } satisfies EchoHandlers };
  };
  const away = () => new HmsError("UNAVAILABLE", "Not now.");

  test("is made again, with its idempotency key, if its method reads only, and not if it has an effect", async () => {
    const { served, handlers } = failing(1, away);
    memory.put(key, [await instance("a", handlers)]);
    const { client } = callsOf();
    const metadata = { "x-hms-idempotency-key": "k-1" };
    expect((await client.read({ value: "" }, { metadata })).value).toBe("at last");
    expect(served.keys).toEqual(["k-1", "k-1"]);
    served.count = 0;
    await expect(client.write({ value: "" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(served.count).toBe(1);
  });

  test("is made again twice at most, and a fifth of all calls at most", async () => {
    const { served, handlers } = failing(Number.POSITIVE_INFINITY, away);
    memory.put(key, [await instance("a", handlers)]);
    const { client } = callsOf();
    await expect(client.read({ value: "" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(served.count).toBe(3);
    const calls = 200;
    await Promise.allSettled(Array.from({ length: calls }, () => client.read({ value: "" })));
    expect(served.count).toBeLessThan(3 + calls * 1.2 + 15);
  });

  test("is never made again for other codes", async () => {
    const { served, handlers } = failing(1, () => new HmsError("INTERNAL", "Broken."));
    memory.put(key, [await instance("a", handlers)]);
    const { client } = callsOf();
    await expect(client.read({ value: "" })).rejects.toMatchObject({ code: "INTERNAL" });
    expect(served.count).toBe(1);
  });

  test.each(["TICKET_EXPIRED", "TICKET_REVOKED"])("with %s is made once more with a new ticket", async (reason) => {
    const { served, handlers } = failing(1, () => new HmsError("UNAUTHENTICATED", "No.", { reason }));
    memory.put(key, [await instance("a", handlers)]);
    const { client } = callsOf();
    expect((await client.write({ value: "" })).value).toBe("at last");
    expect([served.count, memory.calls.lookup]).toEqual([2, 2]);
  });

  test("whose connection broke is made elsewhere if it may be repeated", async () => {
    const dying = await instance("dying", {
      read: () => new Promise<never>(() => {}),
      write: () => new Promise<never>(() => {}),
    });
    memory.put(key, [dying]);
    const { client } = callsOf();
    const calls = Promise.allSettled([client.read({ value: "" }), client.write({ value: "" })]);
    await waitFor(() => dying.server.connections > 0, { describe: "the calls to arrive" });
    memory.put(key, [dying, await instance("a", named("a"))]);
    await dying.server.close({ graceMs: 0 });
    const [read, write] = await calls;
    expect(read).toMatchObject({ status: "fulfilled", value: { value: "a" } });
    expect(write).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE" } });
  });

  test("stream or not, follows a restart at the same address", async () => {
    const first = await instance("a", named("first"));
    memory.put(key, [first]);
    const { client } = callsOf();
    expect((await client.write({ value: "" })).value).toBe("first");
    await first.server.close();
    await instance("a", { ...named("second"), async *list() {} }, first.server.path);
    expect((await client.write({ value: "" })).value).toBe("second");
    expect(await valuesOf(client.list({ value: "" }))).toEqual([]);
  });

  test("as a stream is made again only before its first message", async () => {
    let served = 0;
    memory.put(key, [
      await instance("a", {
        async *list({ value }) {
          served += 1;
          if (value === "late") yield { value: "one" };
          if (served === 1) throw away();
          yield { value: "two" };
        },
      }),
    ]);
    const { client } = callsOf();
    expect(await valuesOf(client.list({ value: "early" }))).toEqual(["two"]);
    served = 0;
    const received: string[] = [];
    const reading = (async () => {
      for await (const { value } of client.list({ value: "late" })) received.push(value);
    })();
    await expect(reading).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect([received, served]).toEqual([["one"], 1]);
  });
});

test("a callee without protobuf is called in JSON from the first refusal on", async () => {
  let refused = 0;
  const path = `${stack.use(tempFolder()).path}/json.sock`;
  const refusing = () => {
    refused += 1;
    throw new HmsError("UNIMPLEMENTED", "No protobuf here.", { reason: "CODEC_NOT_SUPPORTED" });
  };
  const first = await instance("a", { write: refusing }, path);
  memory.put(key, [first]);
  const opened: string[] = [];
  const frames = frameSchemes();
  const unix = frames.unix as ChannelScheme;
  const openJson = (address: string) => {
    opened.push(address);
    return unix.openJson?.(address) as Channel;
  };
  const { client } = callsOf({ schemes: { ...frames, unix: { ...unix, openJson } } });
  await expect(client.write({ value: "" })).rejects.toMatchObject({ details: { reason: "CODEC_NOT_SUPPORTED" } });
  expect([refused, opened]).toEqual([2, [first.address]]);
});

test("a call that meets several callees without protobuf is made again in JSON at each of them", async () => {
  const refusingOnce = async (id: string) => {
    let calls = 0;
    const write = () => {
      calls += 1;
      if (calls === 1) throw new HmsError("UNIMPLEMENTED", "No protobuf here.", { reason: "CODEC_NOT_SUPPORTED" });
      return { value: id };
    };
    return instance(id, { write });
  };
  // Which of them is asked, and whether the next try moves on, is chance: one of two meets both.
  for (let round = 0; round < 20; round += 1) {
    memory.put(key, [await refusingOnce(`a${round}`), await refusingOnce(`b${round}`)]);
    expect((await callsOf().client.write({ value: "" })).value).toMatch(/^[ab]\d+$/);
  }
});

describe("an instance that fails", () => {
  test("is left alone while another works, and gets calls again once a probe went well", async () => {
    let broken = true;
    const served = { bad: 0, good: 0 };
    const bad = await instance("bad", {
      write: () => {
        served.bad += 1;
        if (broken) throw new HmsError("INTERNAL", "Broken.");
        return { value: "bad" };
      },
    });
    const good = await instance("good", {
      write: () => {
        served.good += 1;
        return { value: "good" };
      },
    });
    memory.put(key, [bad, good]);
    const { client, calls } = callsOf();
    const call = () => client.write({ value: "" }).catch(() => {});
    const breakerOf = async () => (await calls.explain(key)).instances[0]?.breaker;
    const ejected = async () => {
      await call();
      return (await breakerOf()) === "open";
    };
    await waitFor(ejected, { describe: "the ejection", intervalMs: 1 });
    const before = served.bad;
    for (let i = 0; i < 50; i += 1) await call();
    expect(served.bad).toBe(before);
    broken = false;
    const probed = async () => {
      await call();
      return served.bad > before;
    };
    await waitFor(probed, { describe: "a probe", intervalMs: 10 });
    expect(await breakerOf()).toBe("closed");
  });
});

describe("tickets", () => {
  test("decide the path: with one directly, without one through the edge, which is told the environment", async () => {
    const direct = await instance("a", named("direct"));
    const seen: unknown[] = [];
    const edge: Transport = {
      unary: async (method, _input, options) => {
        seen.push(method.name, options?.metadata);
        return { $typeName: method.output.typeName, value: "edge" } as never;
      },
      stream: () => {
        throw new Error("Not part of this test.");
      },
    };
    const { client, calls } = callsOf({ edge });
    memory.put(key, [direct]);
    expect((await client.read({ value: "" })).value).toBe("edge");
    expect(seen).toEqual(["Read", { "x-hms-environment": "default" }]);
    expect(await calls.explain(key)).toMatchObject({ path: "edge" });
    const other = { ...key, version: "v2" };
    memory.put(other, [{ ...direct, ticketKey: Buffer.alloc(32) }]);
    const v2 = createClient(contract, calls.transport(other));
    expect((await v2.read({ value: "" })).value).toBe("direct");
    const explained = await calls.explain(other);
    expect(explained).toMatchObject({
      path: "direct",
      instances: [{ instanceId: "a", codec: "json", methods: ["*"], breaker: "closed", inFlight: 0 }],
    });
    expect(explained.instances[0]?.addresses[0]).toMatchObject({ scheme: "unix", chosen: true });
  });
});

import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { registry } from "@hms/contracts";
import { type CallContext, componentPrincipal, HmsError, Kernel } from "@hms/kernel";
import { afterEach, describe, expect, test } from "vitest";
import { connectSocket, serveSocket } from "./index.ts";
import { type RegistryHandlers, Stage, TOKEN, until } from "./registry-on-socket.ts";

const stage = new Stage();
afterEach(() => stage.release());

async function served(own: Partial<RegistryHandlers>) {
  const server = await stage.serve(own);
  return { server, ...stage.connect({ path: server.path }) };
}

const names = async (events: AsyncIterable<registry.WatchResponse>) => {
  const seen: (string | undefined)[] = [];
  for await (const event of events) seen.push(event.service?.serviceId);
  return seen;
};

describe("a call over the socket", () => {
  test("reaches the handler with principal, metadata and deadline, and brings its answer back", async () => {
    let seen: CallContext | undefined;
    const { client } = await served({
      lookup: (request, context) => {
        seen = context;
        return { service: { serviceId: request.serviceId, hasContract: true } };
      },
    });
    const options = { metadata: { "x-request-id": "r-1", Traceparent: "00-1-2-01" }, timeoutMs: 5_000 };
    const answer = await client.lookup({ serviceId: "hms.cdf.debate" }, options);
    expect(answer.service).toMatchObject({ serviceId: "hms.cdf.debate", hasContract: true });
    expect(seen?.principal).toEqual(componentPrincipal("test"));
    // The token is in the credentials and nowhere else.
    expect({ ...seen?.metadata }).toEqual({ "x-request-id": "r-1", traceparent: "00-1-2-01" });
    expect(seen?.requestId).toBe("r-1");
    expect(seen?.remainingMs).toBeGreaterThan(3_000);
    expect(seen?.remainingMs).toBeLessThanOrEqual(5_000);
  });

  test("is nobody's without a token, and says so", async () => {
    const { server } = await served({ lookup: () => ({}) });
    const { client } = stage.connect({ path: server.path, token: "wrong" });
    await expect(client.lookup({})).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  test("brings errors back whole", async () => {
    const { client } = await served({
      lookup: () => {
        throw new HmsError("NOT_FOUND", "No such service.", { reason: "SERVICE_UNKNOWN", metadata: { near: "x" } });
      },
    });
    await expect(client.lookup({ serviceId: "y" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: "No such service.",
      details: { reason: "SERVICE_UNKNOWN", metadata: { near: "x" } },
    });
  });

  test("brings an error back even if its details cannot travel", async () => {
    const { client } = await served({
      lookup: () => {
        throw new HmsError("ABORTED", "Odd.", { reason: "ODD", metadata: { n: 1 as never } });
      },
    });
    await expect(client.lookup({})).rejects.toMatchObject({ code: "ABORTED", message: "Odd.", details: {} });
  });

  test("of a method that is not served is UNIMPLEMENTED", async () => {
    const path = await stage.socketPath();
    const server = await serveSocket(new Kernel({} as never), { path });
    stage.defer(() => server.close());
    const { client } = stage.connect({ path });
    await expect(client.lookup({})).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
      message: "hms.ffi.v1.RegistryService/Lookup is not served here.",
    });
  });

  test("carries messages of megabytes both ways, and refuses what no frame can hold on the side that made it", async () => {
    const { client } = await served({
      lookup: ({ serviceId }) => ({ service: { serviceId: serviceId.length > 9 ? serviceId : "a".repeat(5 << 20) } }),
    });
    const large = "ä".repeat(1_900_000);
    const answer = await client.lookup({ serviceId: large });
    expect(answer.service?.serviceId === large).toBe(true);
    const tooLarge = { code: "RESOURCE_EXHAUSTED", details: { reason: "MESSAGE_TOO_LARGE" } };
    await expect(client.lookup({ serviceId: "small" })).rejects.toMatchObject(tooLarge);
    await expect(client.lookup({ serviceId: "b".repeat(5 << 20) })).rejects.toMatchObject(tooLarge);
    await expect(client.lookup({ serviceId: "still works" })).resolves.toBeDefined();
  });

  test("passes the deadline, the cancellation and the request id of the call it is made for on", async () => {
    const inner = await served({
      lookup: (_, context) =>
        new Promise((_resolve, reject) => {
          context.signal.addEventListener("abort", () => reject(context.signal.reason));
          seen.push(context);
        }),
    });
    const seen: CallContext[] = [];
    const outer = await served({ lookup: (request, context) => inner.client.lookup(request, { context }) });
    const leave = new AbortController();
    const call = outer.client.lookup(
      {},
      { timeoutMs: 60_000, signal: leave.signal, metadata: { "x-request-id": "r-7", traceparent: "t" } },
    );
    await until(() => seen.length === 1);
    expect(seen[0]?.requestId).toBe("r-7");
    expect(seen[0]?.metadata.traceparent).toBe("t");
    expect(seen[0]?.remainingMs).toBeGreaterThan(50_000);
    leave.abort();
    await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
    await until(() => seen[0]?.signal.aborted === true);
  });

  test("streams answers until the handler ends, and its error after the messages before it", async () => {
    const { client } = await served({
      watch: async function* ({ pattern }) {
        for (let n = 0; n < 3; n += 1) yield { service: { serviceId: `s${n}` } };
        if (pattern === "fail") throw new HmsError("ABORTED", "Enough.");
      },
    });
    expect(await names(client.watch({}))).toEqual(["s0", "s1", "s2"]);
    const seen: unknown[] = [];
    const failing = async () => {
      for await (const event of client.watch({ pattern: "fail" })) seen.push(event);
    };
    await expect(failing()).rejects.toMatchObject({ code: "ABORTED", message: "Enough." });
    expect(seen).toHaveLength(3);
  });

  test("ends with its deadline on both sides, unary or stream", async () => {
    const stopped: string[] = [];
    const { client } = await served({
      lookup: (_, { signal }) =>
        new Promise(() => {
          signal.addEventListener("abort", () => stopped.push("lookup"));
        }),
      watch: async function* (_, { signal }) {
        signal.addEventListener("abort", () => stopped.push("watch"));
        yield {};
        await new Promise(() => {});
      },
    });
    const late = { code: "DEADLINE_EXCEEDED" };
    await expect(client.lookup({}, { timeoutMs: 20 })).rejects.toMatchObject(late);
    await expect(names(client.watch({}, { timeoutMs: 20 }))).rejects.toMatchObject(late);
    await until(() => stopped.length === 2);
  });

  test("keeps many calls apart that end in another order than they began", async () => {
    const waiting = new Map<string, () => void>();
    const { client } = await served({
      lookup: ({ serviceId }) =>
        new Promise((resolve) => waiting.set(serviceId, () => resolve({ service: { serviceId } }))),
    });
    const calls = Array.from({ length: 200 }, (_, n) => client.lookup({ serviceId: `s${n}` }));
    await until(() => waiting.size === 200);
    for (const answer of [...waiting.values()].reverse()) answer();
    const answers = await Promise.all(calls);
    expect(answers.map((answer) => answer.service?.serviceId)).toEqual(Array.from({ length: 200 }, (_, n) => `s${n}`));
  });
});

describe("cancelling", () => {
  test("a unary call stops its handler", async () => {
    let stopped: unknown;
    const { client } = await served({
      lookup: (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            stopped = signal.reason;
            reject(signal.reason);
          });
          running = true;
        }),
    });
    let running = false;
    const leave = new AbortController();
    const call = client.lookup({}, { signal: leave.signal });
    await until(() => running);
    leave.abort();
    await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
    await until(() => stopped !== undefined);
    expect(stopped).toMatchObject({ code: "CANCELLED" });
  });

  test("with a signal that is aborted already never reaches the handler", async () => {
    let calls = 0;
    const { client } = await served({
      lookup: () => {
        calls += 1;
        return {};
      },
    });
    await client.lookup({});
    await expect(client.lookup({}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "CANCELLED" });
    await client.lookup({});
    expect(calls).toBe(2);
  });

  test("leaving a stream stops its handler, whether it is waiting or sending", async () => {
    const ended: string[] = [];
    const { client } = await served({
      watch: async function* ({ pattern }, { signal }) {
        try {
          for (;;) {
            yield { service: { serviceId: "x".repeat(1000) } };
            if (pattern === "waits") await new Promise((resolve) => signal.addEventListener("abort", resolve));
            signal.throwIfAborted();
          }
        } finally {
          ended.push(pattern);
        }
      },
    });
    for await (const _ of client.watch({ pattern: "waits" })) break;
    for await (const _ of client.watch({ pattern: "sends" })) break;
    await until(() => ended.length === 2);
  });

  test("closing the connection stops everything that runs on it", async () => {
    let running = 0;
    let stopped = 0;
    const { client, transport } = await served({
      lookup: (_, { signal }) =>
        new Promise(() => {
          running += 1;
          signal.addEventListener("abort", () => {
            stopped += 1;
          });
        }),
      watch: async function* (_, { signal }) {
        running += 1;
        yield {};
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        stopped += 1;
      },
    });
    const ends = [client.lookup({}), names(client.watch({}))].map((call) => call.catch((error) => error.code));
    await until(() => running === 2);
    await transport.close();
    expect(await Promise.all(ends)).toEqual(["CANCELLED", "CANCELLED"]);
    await until(() => stopped === 2);
    await expect(client.lookup({})).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

describe("a slow reader", () => {
  test("makes the handler wait instead of the server's memory grow, and disturbs nobody else", async () => {
    let produced = 0;
    const { client } = await served({
      lookup: () => ({}),
      watch: async function* () {
        for (; produced < 100_000; produced += 1) yield { service: { serviceId: "x".repeat(1000) } };
      },
    });
    const reader = client.watch({})[Symbol.asyncIterator]();
    await reader.next();
    let before = -1;
    await until(() => {
      const still = produced === before;
      before = produced;
      return still && produced > 0;
    });
    // One window is 256 KiB.
    expect(produced).toBeLessThan(300);
    await client.lookup({});
    for (let n = 0; n < 1_000; n += 1) await reader.next();
    expect(produced).toBeGreaterThan(1_000);
    expect(produced).toBeLessThan(1_300);
    await reader.return?.();
  });
});

describe("the socket file", () => {
  test("is made so that only its user can open it, in a folder of the same kind, and goes with the server", async () => {
    const { server } = await served({});
    expect((await stat(server.path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(server.path, ".."))).mode & 0o777).toBe(0o700);
    await server.close();
    await expect(stat(server.path)).rejects.toThrow("ENOENT");
  });

  test("belongs to the server that answers at it; a second one is told so and changes nothing", async () => {
    const { server, client } = await served({ lookup: () => ({}) });
    await expect(stage.serve({}, { path: server.path })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      details: { reason: "SOCKET_IN_USE" },
    });
    await expect(client.lookup({})).resolves.toBeDefined();
  });

  test("is refused with the reason if its path is too long", async () => {
    const kernel = new Kernel({} as never);
    await expect(serveSocket(kernel, { path: `/tmp/${"x".repeat(120)}/a.sock` })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});

describe("an idle transport", () => {
  test("opens nothing before the first call", async () => {
    const server = await stage.serve({ lookup: () => ({}) });
    const transport = connectSocket({ path: server.path, token: TOKEN });
    stage.defer(() => transport.close());
    expect(transport.connected).toBe(false);
    await transport.ready(1_000);
    expect(transport.connected).toBe(true);
    await until(() => server.connections === 1);
  });
});

import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { integrationOperations, registry } from "@hms/contracts";
import { type CallContext, createClient, HmsError } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { connectSocket, serveSocket } from "@hms/wire";
import { afterEach, describe, expect, test } from "vitest";
import {
  anna,
  clearScene,
  idOf,
  lookup,
  openDatabase,
  operator,
  otto,
  register,
  scene,
  serve,
} from "../testing/operation-scene.ts";

const { OperationService, OperationState, PayloadCodec } = integrationOperations;
const { LookupResponseSchema } = registry;

afterEach(clearScene);

const inMs = (ms: number) => ({ maxWait: durationFromMs(ms) });

describe("an operation", () => {
  test("answers at once, runs on behalf of its caller, and keeps its answer", async () => {
    const seen: CallContext[] = [];
    const release = Promise.withResolvers<void>();
    const { as } = await serve(await openDatabase(), {
      lookup: async ({ serviceId }, context) => {
        seen.push(context);
        await release.promise;
        return { service: { serviceId } };
      },
    });
    const started = await as(anna).startOperation(lookup("hms.a"));
    expect(started.operation?.state).toBe(OperationState.PENDING);
    await waitFor(() => seen.length === 1, { describe: "the call" });
    const waiting = await as(anna).waitOperation({ operationId: idOf(started), ...inMs(20) });
    expect(waiting.operation?.state).toBe(OperationState.RUNNING);
    release.resolve();
    const { operation } = await as(anna).waitOperation({ operationId: idOf(started) });
    expect(operation?.state).toBe(OperationState.SUCCEEDED);
    expect(fromBinary(LookupResponseSchema, operation?.response ?? new Uint8Array()).service?.serviceId).toBe("hms.a");
    expect(seen[0]?.principal).toEqual(anna);
    expect(seen[0]?.metadata["x-hms-idempotency-key"]).toBe(idOf(started));
  });

  test("takes and gives JSON", async () => {
    const { as } = await serve(await openDatabase(), { lookup: ({ serviceId }) => ({ service: { serviceId } }) });
    const request = new TextEncoder().encode('{"serviceId": "hms.b"}');
    const started = await as(anna).startOperation({ ...lookup(""), request, codec: PayloadCodec.JSON });
    const { operation } = await as(anna).waitOperation({ operationId: idOf(started) });
    const answer = fromJsonString(LookupResponseSchema, new TextDecoder().decode(operation?.response));
    expect(answer.service?.serviceId).toBe("hms.b");
  });

  test("is refused at once if nobody offers the method, it streams, or the request is not its request", async () => {
    const { as } = await serve(await openDatabase(), {});
    const start = as(anna).startOperation;
    await expect(start({ service: "no.such.v1.Thing", method: "Do" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(start({ ...lookup("a"), method: "Watch" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const request = new TextEncoder().encode('{"serviceIdd": "x"}');
    await expect(start({ ...lookup(""), request, codec: PayloadCodec.JSON })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("serviceIdd"),
    });
  });

  test("is seen by its caller and the operator only", async () => {
    const { as } = await serve(await openDatabase(), { lookup: () => ({}) });
    const operationId = idOf(await as(anna).startOperation(lookup("a")));
    await expect(as(otto).getOperation({ operationId })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(as(otto).cancelOperation({ operationId })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect((await as(otto).listOperations({})).operations).toEqual([]);
    expect((await as(operator).getOperation({ operationId })).operation?.principal).toBe("user:anna");
  });

  test("is listed newest first, a page at a time, by state", async () => {
    const { as } = await serve(await openDatabase(), { lookup: () => ({}) });
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) ids.unshift(idOf(await as(anna).startOperation(lookup("a"))));
    for (const operationId of ids) await as(anna).waitOperation({ operationId });
    const first = await as(anna).listOperations({ pageSize: 3, state: OperationState.SUCCEEDED });
    const second = await as(anna).listOperations({ pageSize: 3, pageToken: first.nextPageToken });
    expect([...first.operations, ...second.operations].map(({ operationId }) => operationId)).toEqual(ids);
    expect(second.nextPageToken).toBe("");
    expect((await as(anna).listOperations({ state: OperationState.FAILED })).operations).toEqual([]);
  });

  test("fails with the error of its method, details and all", async () => {
    const lookupFails = () => {
      throw new HmsError("NOT_FOUND", "There is no such thing.", { reason: "NO_THING" });
    };
    const { as } = await serve(await openDatabase(), { lookup: lookupFails });
    const operationId = idOf(await as(anna).startOperation(lookup("a")));
    const { operation } = await as(anna).waitOperation({ operationId });
    expect(operation).toMatchObject({ state: OperationState.FAILED, attempts: 1, error: { code: 5 } });
    expect(operation?.error?.details[0]?.typeUrl).toContain("ErrorInfo");
  });

  test("is authorized again when it runs", async () => {
    const { as, process } = await serve(await openDatabase(), { lookup: () => ({}) });
    // The caller is let in; before the operation runs, the right is taken away.
    const started = as(anna).startOperation(lookup("a"));
    process.denied.add("anna");
    const { operation } = await as(operator).waitOperation({ operationId: idOf(await started) });
    expect(operation).toMatchObject({ state: OperationState.FAILED, error: { code: 7 } });
  });

  test("with the same idempotency key is the same operation, and another request is refused", async () => {
    let calls = 0;
    const { as } = await serve(await openDatabase(), {
      lookup: () => {
        calls += 1;
        return {};
      },
    });
    const request = { ...lookup("a"), idempotencyKey: "k-1" };
    const all = await Promise.all([1, 2, 3].map(() => as(anna).startOperation(request)));
    expect(new Set(all.map(idOf)).size).toBe(1);
    await as(anna).waitOperation({ operationId: idOf(all[0] ?? {}) });
    expect(calls).toBe(1);
    await expect(as(anna).startOperation({ ...lookup("b"), idempotencyKey: "k-1" })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      details: { reason: "IDEMPOTENCY_KEY_REUSED" },
    });
    expect(idOf(await as(otto).startOperation(request))).not.toBe(idOf(all[0] ?? {}));
  });

  test("that is cancelled stops its handler and ends as cancelled", async () => {
    let stopped: unknown;
    const { as } = await serve(await openDatabase(), {
      lookup: (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            stopped = signal.reason;
            reject(signal.reason);
          });
        }),
    });
    const operationId = idOf(await as(anna).startOperation(lookup("a")));
    await waitFor(
      async () => (await as(anna).getOperation({ operationId })).operation?.state === OperationState.RUNNING,
      { describe: "the operation runs" },
    );
    await as(anna).cancelOperation({ operationId });
    const { operation } = await as(anna).waitOperation({ operationId });
    expect(operation).toMatchObject({ state: OperationState.CANCELLED, error: { code: 1 } });
    expect(stopped).toBeInstanceOf(HmsError);
    const again = await as(anna).cancelOperation({ operationId });
    expect(again.operation?.state).toBe(OperationState.CANCELLED);
  });

  test("that takes longer than its time ends as timed out", async () => {
    const { as } = await serve(await openDatabase(), { lookup: () => new Promise(() => {}) });
    const started = await as(anna).startOperation({ ...lookup("a"), timeout: durationFromMs(150) });
    const { operation } = await as(anna).waitOperation({ operationId: idOf(started) });
    expect(operation).toMatchObject({ state: OperationState.TIMED_OUT, error: { code: 4 } });
  });

  test("whose callee is away is tried again until it is there", async () => {
    let calls = 0;
    const { as } = await serve(await openDatabase(), {
      unregister: () => {
        calls += 1;
        if (calls === 1) throw new HmsError("UNAVAILABLE", "Nobody is there.", { reason: "NOT_CONNECTED" });
        return {};
      },
    });
    const operationId = idOf(await as(anna).startOperation(register));
    const { operation } = await as(anna).waitOperation({ operationId });
    expect(operation).toMatchObject({ state: OperationState.SUCCEEDED, attempts: 2 });
  });

  test("tells its callback how it ended, again until it is heard", async () => {
    const heard: string[] = [];
    const { as } = await serve(await openDatabase(), {
      lookup: ({ serviceId }) => ({ service: { serviceId } }),
      list: (_, { metadata }) => {
        heard.push(metadata["x-hms-idempotency-key"] ?? "");
        if (heard.length === 1) throw new HmsError("UNAVAILABLE", "Not now.");
        return {};
      },
    });
    const callback = { service: "hms.ffi.v1.RegistryService", method: "List" };
    const operationId = idOf(await as(anna).startOperation({ ...lookup("a"), callback }));
    await waitFor(() => heard.length === 2, { describe: "the second callback" });
    expect(new Set(heard)).toEqual(new Set([`${operationId}-callback`]));
  });

  test("is there over a socket as well", async () => {
    const { kernel, as } = await serve(await openDatabase(), { lookup: () => ({}) });
    const path = `${(await import("node:fs")).mkdtempSync(`${(await import("node:os")).tmpdir()}/hms-op-`)}/s.sock`;
    scene.stack.use(await serveSocket(kernel, { path }));
    const transport = scene.stack.use(connectSocket({ path, token: "anna" }));
    const client = createClient(OperationService, transport);
    const operationId = idOf(await client.startOperation(lookup("a")));
    expect((await client.waitOperation({ operationId })).operation?.state).toBe(OperationState.SUCCEEDED);
    expect((await as(anna).getOperation({ operationId })).operation?.attempts).toBe(1);
  });
});

describe("when the process that runs an operation goes away", () => {
  const hanging = () => new Promise<never>(() => {});

  test("without a word, another one takes it up if its method may be repeated", async () => {
    const own = await openDatabase();
    const first = await serve(own, { lookup: hanging }, { leaseMs: 300 });
    const operationId = idOf(await first.as(anna).startOperation(lookup("a")));
    await waitFor(
      async () => (await first.as(anna).getOperation({ operationId })).operation?.state === OperationState.RUNNING,
      { describe: "the operation runs" },
    );
    await first.service[Symbol.asyncDispose]();
    // What a killed process leaves behind: a row that nobody renews.
    const { sql } = await import("kysely");
    await sql`update operation set state = 'running', attempts = attempts + 1, lease_until = clock_timestamp()`.execute(
      own.database.db,
    );
    const second = await serve(own, { lookup: () => ({}) });
    const { operation } = await second.as(anna).waitOperation({ operationId });
    expect(operation?.state).toBe(OperationState.SUCCEEDED);
    expect(operation?.attempts).toBeGreaterThanOrEqual(3);
  });

  test("without a word, it fails as interrupted if its method may not be repeated", async () => {
    const own = await openDatabase();
    const service = "hms.sys.integration.v1.OperationService";
    const start = { service, method: "StartOperation", request: new Uint8Array() };
    const { sql } = await import("kysely");
    const first = await serve(own, {});
    const operationId = idOf(await first.as(anna).startOperation({ ...start, timeout: durationFromMs(60_000) }));
    await first.as(anna).waitOperation({ operationId });
    await sql`update operation set state = 'running', ended_at = null, lease_until = clock_timestamp() - interval '1 s'`.execute(
      own.database.db,
    );
    const { operation } = await first.as(anna).waitOperation({ operationId });
    expect(operation).toMatchObject({ state: OperationState.FAILED, error: { code: 14 } });
  });

  test("by being stopped, it leaves what may be repeated to the next one", async () => {
    const own = await openDatabase();
    const first = await serve(own, { lookup: hanging });
    const operationId = idOf(await first.as(anna).startOperation(lookup("a")));
    await waitFor(
      async () => (await first.as(anna).getOperation({ operationId })).operation?.state === OperationState.RUNNING,
      { describe: "the operation runs" },
    );
    await first.service[Symbol.asyncDispose]();
    const second = await serve(own, { lookup: () => ({}) });
    const { operation } = await second.as(anna).waitOperation({ operationId });
    expect(operation).toMatchObject({ state: OperationState.SUCCEEDED, attempts: 2 });
  });
});

test("a hundred operations in two processes are each served once", async () => {
  const own = await openDatabase();
  const served: string[] = [];
  const handlers: Parameters<typeof serve>[1] = {
    lookup: ({ serviceId }) => {
      served.push(serviceId);
      return {};
    },
  };
  const both = [await serve(own, handlers), await serve(own, handlers)];
  const ids = await Promise.all(
    Array.from({ length: 100 }, async (_, n) =>
      idOf(await (both[n % 2] ?? both[0])!.as(anna).startOperation(lookup(`s.${n}`))),
    ),
  );
  await Promise.all(ids.map((operationId) => both[0]!.as(anna).waitOperation({ operationId })));
  expect(served.length).toBe(100);
  expect(new Set(served).size).toBe(100);
});

import { anonymous, type CallContext, HmsError, Kernel, type KernelOptions, type Principal } from "@hms/kernel";
import { echoContract, echoKernel, tempFolder, testAuthority } from "@hms/testkit";
import { connectFrames, serveFrames } from "@hms/wire";
import { afterEach, describe, expect, test } from "vitest";
import { createPartIdentity, forwardedServices, originOf, PartTickets, partSpiffeId } from "./index.ts";

const key = Buffer.alloc(32, 7);
const contract = echoContract();
const anna: Principal = { kind: "user", id: "anna", roles: ["doctor"] };
const part = "registry";

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

type Audited = Parameters<KernelOptions["audit"]["record"]>[0];

/** A part in a kernel of its own that says what it has seen, and the identity by which it knows its callers. */
function openPart(seen: CallContext[], audited: Audited[]): Kernel {
  const answer = (_: unknown, context: CallContext) => {
    seen.push(context);
    return { value: context.principal.id };
  };
  return echoKernel(
    contract,
    { unary: answer, read: answer },
    {
      identity: createPartIdentity({ key, parts: [part], installation: "test" }),
      policy: { decide: ({ principal: { id } }) => ({ allowed: id !== "bert", reason: "not bert" }) },
      audit: { accepts: true, record: (event) => audited.push(event) },
      originOf,
    },
  );
}

/** Who calls: another kernel, where the part's services are registered as if they were there. */
function openCaller(transport: ReturnType<typeof connectFrames>, audited: Audited[] = []): Kernel {
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: ({ principal: { id } }) => ({ allowed: id !== "mallory", reason: "not mallory" }) },
    audit: { accepts: true, record: (event) => audited.push(event) },
  });
  for (const each of forwardedServices([contract], { transport, tickets: new PartTickets(key, part) })) {
    kernel.register(each);
  }
  return kernel;
}

async function scene() {
  const [seen, there, here]: [CallContext[], Audited[], Audited[]] = [[], [], []];
  const address = `unix:${stack.use(tempFolder()).path}/p.sock`;
  stack.use(await serveFrames(openPart(seen, there), { address, graceMs: 200 }));
  const kernel = openCaller(stack.use(connectFrames({ address })), here);
  return { seen, there, here, kernel, client: (principal: Principal) => kernel.client(contract, principal) };
}

async function* texts(...values: string[]) {
  for (const value of values) yield { value };
}

async function valuesOf(answers: AsyncIterable<{ value: string }>): Promise<string[]> {
  const values: string[] = [];
  for await (const { value } of answers) values.push(value);
  return values;
}

describe("a part in another process", () => {
  test("is called in all four kinds, as if it were here", async () => {
    const client = (await scene()).client(anna);
    expect((await client.unary({ value: "x" })).value).toBe("anna");
    expect(await valuesOf(client.serverStream({ value: "a,b" }))).toEqual(["a", "b"]);
    expect((await client.clientStream(texts("a", "b"))).value).toBe("a+b");
    expect(await valuesOf(client.bidi(texts("a", "b")))).toEqual(["re: a", "re: b"]);
    await expect(valuesOf(client.serverStream({ value: "a,fail" }))).rejects.toMatchObject({ code: "ABORTED" });
  });

  test("sees principal, deadline and all metadata of the call, and none of its credentials", async () => {
    const { seen, client } = await scene();
    const metadata = { mine: "yes", "x-hms-idempotency-key": "k-1", authorization: "Bearer secret" };
    await client(anna).unary({ value: "" }, { timeoutMs: 5_000, metadata });
    expect(seen[0]).toMatchObject({ principal: { kind: "user", id: "anna", roles: ["doctor"] } });
    expect(seen[0]?.metadata).toMatchObject({ mine: "yes", "x-hms-idempotency-key": "k-1" });
    expect(JSON.stringify(seen[0]?.metadata)).not.toContain("secret");
    expect(seen[0]?.remainingMs).toBeLessThanOrEqual(5_000);
  });

  test("goes on in the trace from the span that was made here", async () => {
    const traceparentOf = (span: string) => `00-${"a".repeat(32)}-${span.repeat(16)}-01`;
    const address = `unix:${stack.use(tempFolder()).path}/p.sock`;
    const seen: CallContext[] = [];
    stack.use(await serveFrames(openPart(seen, []), { address, graceMs: 200 }));
    const kernel = openCaller(stack.use(connectFrames({ address })));
    kernel.options.tracer = {
      begin: () => ({ traceparent: traceparentOf("c"), run: (work) => work(), end: () => {} }),
      failed: () => {},
    };
    await kernel.client(contract, anna).unary({ value: "" }, { metadata: { traceparent: traceparentOf("b") } });
    expect(seen[0]?.metadata.traceparent).toBe(traceparentOf("c"));
  });

  test("decides and records by itself; what is denied before it gets there is recorded before", async () => {
    const { there, here, client } = await scene();
    await expect(client({ kind: "user", id: "bert" }).read({ value: "" })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    expect(there).toMatchObject([{ outcome: "denied", principal: { id: "bert" } }]);
    expect(here).toEqual([]);
    await expect(client({ kind: "user", id: "mallory" }).read({ value: "" })).rejects.toThrow("not mallory");
    expect(there).toHaveLength(1);
    expect(here).toMatchObject([{ outcome: "denied", principal: { id: "mallory" } }]);
  });

  test("knows from where a call came to the platform, and by what, not that another process has carried it", async () => {
    const { seen, kernel } = await scene();
    const principal: Principal = { ...anna, credential: "session", methods: ["pwd", "otp"] };
    const source = { address: "203.0.113.9", userAgent: "ä/1\n" };
    const lie = { "x-hms-call-origin": encodeURIComponent('{"way":"grpc","source":{"address":"1.1.1.1"}}') };
    const entry = kernel.entryOf(contract.method.unary);
    await kernel.unary(entry, { value: "" }, { caller: { principal }, way: "http", source, metadata: lie });
    await kernel.client(contract, principal).unary({ value: "" }, { metadata: lie });
    expect(seen).toMatchObject([
      { way: "http", source, principal: { id: "anna", credential: "session", methods: ["pwd", "otp"] } },
      { way: "in-process" },
    ]);
    expect(seen[1]?.source).toBeUndefined();
  });

  test("says which part it is when it is away, and what to do", async () => {
    const kernel = openCaller(stack.use(connectFrames({ address: `unix:${stack.use(tempFolder()).path}/p.sock` })));
    const call = kernel.client(contract, anna).read({ value: "" });
    await expect(call).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: "The platform's registry does not answer. What does not need it goes on; see hms-sys doctor.",
      details: { reason: "PART_AWAY" },
    });
  });

  test("lets nobody in without a ticket, whatever token is shown", async () => {
    const address = `unix:${stack.use(tempFolder()).path}/p.sock`;
    const seen: CallContext[] = [];
    stack.use(await serveFrames(openPart(seen, []), { address, graceMs: 200 }));
    const forged = new PartTickets(Buffer.alloc(32, 8), part).of(anna);
    for (const metadata of [{ authorization: `Ticket ${forged}` }, { authorization: "Ticket hms1.x.y" }]) {
      const transport = stack.use(connectFrames({ address, metadata }));
      await expect(transport.unary(contract.method.read, { value: "" })).rejects.toMatchObject({
        code: "UNAUTHENTICATED",
      });
    }
    expect(seen).toEqual([]);
  });
});

describe("over TLS", () => {
  const authority = testAuthority();
  const identity = (id: string) => {
    const { key: own, cert } = authority.issue(`URI:${id}`);
    return { key: () => own, cert: () => cert, ca: () => authority.ca };
  };
  const server = partSpiffeId("test", "server");

  async function call(ids: { caller: string; callee: string; expected: string | string[] }) {
    const served = await serveFrames(openPart([], []), {
      address: "tls://127.0.0.1:0",
      tls: identity(ids.callee),
      graceMs: 200,
    });
    stack.use(served);
    const tls = { ...identity(ids.caller), expectedId: ids.expected };
    const kernel = openCaller(stack.use(connectFrames({ address: served.address, tls })));
    return kernel
      .client(contract, anna)
      .read({ value: "" })
      .then(
        ({ value }) => value,
        (error) => HmsError.from(error).code,
      );
  }

  test("both sides must be parts of the installation, and the callee the part that is meant", async () => {
    const registry = partSpiffeId("test", "registry");
    const mesh = partSpiffeId("test", "mesh");
    expect(await call({ caller: server, callee: registry, expected: registry })).toBe("anna");
    expect(await call({ caller: server, callee: mesh, expected: [registry, mesh] })).toBe("anna");
    expect(await call({ caller: server, callee: mesh, expected: registry })).toBe("UNAUTHENTICATED");
    const workload = "spiffe://test/env/default/svc/a";
    expect(await call({ caller: workload, callee: registry, expected: registry })).toBe("UNAUTHENTICATED");
  });
});

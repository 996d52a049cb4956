import { toBinary } from "@bufbuild/protobuf";
import { calls, policy, registry } from "@hms/contracts";
import { type CallObserver, HmsError, implement, Kernel, type Principal } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { createCallService } from "./index.ts";

const anna: Principal = { kind: "user", id: "anna" };
const operator: Principal = { kind: "operator", id: "operator" };

function startKernel() {
  const observer: CallObserver = { finished: () => {}, ended: undefined };
  const kernel = new Kernel({
    identity: { authenticate: () => anna },
    policy: {
      decide: ({ principal, permission }) =>
        principal === anna && permission === "policies:read"
          ? { allowed: false, reason: "she may not" }
          : { allowed: true },
    },
    audit: { accepts: true, record: () => {} },
    observer,
  });
  const of = <S extends typeof registry.RegistryService | typeof policy.PolicyService>(service: S) =>
    Object.fromEntries(service.methods.map(({ localName }) => [localName, () => ({})])) as never;
  const lookup = ({ serviceId }: { serviceId: string }) => {
    if (serviceId === "none") throw new HmsError("NOT_FOUND", "No none.", { reason: "SERVICE_UNKNOWN" });
    return {};
  };
  kernel.register(
    implement(registry.RegistryService, { ...(of(registry.RegistryService) as object), lookup } as never),
  );
  kernel.register(implement(policy.PolicyService, of(policy.PolicyService)));
  kernel.register(createCallService({ observer, process: "test", metrics: () => "" }));
  return { kernel, observer };
}

/** Opens a tap; `next` answers with what comes first from then on. */
async function tap(kernel: Kernel, request: Parameters<ReturnType<typeof clientOf>["tapCalls"]>[0]) {
  const stream = clientOf(kernel).tapCalls(request)[Symbol.asyncIterator]();
  expect((await stream.next()).value).toMatchObject({ calls: [], dropped: 0n });
  return { next: async () => (await stream.next()).value as calls.TapCallsResponse, close: () => stream.return?.() };
}
const clientOf = (kernel: Kernel) => kernel.client(calls.CallService, operator);

test("a tap shows who called what, how it ended and in which trace", async () => {
  const { kernel } = startKernel();
  const shown = await tap(kernel, {});
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const options = { metadata: { traceparent: `00-${traceId}-b7ad6b7169203331-01`, "x-request-id": "r-1" } };
  await kernel.client(registry.RegistryService, anna).lookup({ serviceId: "hms.a" }, options);
  const { calls: seen } = await shown.next();
  expect(seen).toMatchObject([
    {
      service: "hms.ffi.v1.RegistryService",
      method: "Lookup",
      environment: "",
      principal: "user:anna",
      code: "OK",
      transport: "in-process",
      traceId,
      requestId: "r-1",
    },
  ]);
  expect(seen[0]?.request).toBeUndefined();
  expect(() => seen.map((call) => toBinary(calls.TappedCallSchema, call))).not.toThrow();
  await shown.close();
});

test("a tap for errors shows failures and denials only, with the code that the caller got", async () => {
  const { kernel } = startKernel();
  const shown = await tap(kernel, { errorsOnly: true });
  const client = kernel.client(registry.RegistryService, anna);
  await client.lookup({ serviceId: "hms.a" });
  await client.lookup({ serviceId: "none" }).catch(() => {});
  await kernel
    .client(policy.PolicyService, anna)
    .listPolicies({})
    .catch(() => {});
  const { calls: seen } = await shown.next();
  expect(seen.map(({ method, code, reason }) => [method, code, reason])).toEqual([
    ["Lookup", "NOT_FOUND", "SERVICE_UNKNOWN"],
    ["ListPolicies", "PERMISSION_DENIED", ""],
  ]);
  await shown.close();
});

test.each([
  [{ service: "hms.ffi" }, ["Lookup", "List", "PutPolicy"]],
  [{ service: "hms.ffi.v1.Policy*" }, ["PutPolicy"]],
  [{ service: "hms.*", method: "L*" }, ["Lookup", "List"]],
  [{ principal: "operator:*" }, ["PutPolicy"]],
  [{ environment: "default" }, []],
])("a tap for %o shows %o", async (request, methods) => {
  const { kernel } = startKernel();
  const shown = await tap(kernel, request);
  const client = kernel.client(registry.RegistryService, anna);
  const all = await tap(kernel, {});
  await client.lookup({});
  await client.list({});
  await kernel.client(policy.PolicyService, operator).putPolicy({});
  expect((await all.next()).calls).toHaveLength(3);
  if (methods.length > 0) expect((await shown.next()).calls.map(({ method }) => method)).toEqual(methods);
  await Promise.all([shown.close(), all.close()]);
});

test("requests show only where the audit level allows it, secrets redacted", async () => {
  const { kernel } = startKernel();
  const shown = await tap(kernel, { withRequests: true });
  await kernel.client(registry.RegistryService, operator).list({ pattern: "hms.*" });
  await kernel.client(policy.PolicyService, operator).putPolicy({ policy: { service: "hms.emr.*" } });
  const { calls: seen } = await shown.next();
  expect(seen[0]?.request).toBeUndefined();
  expect(JSON.stringify(seen[1]?.request?.kind)).toContain("hms.emr.*");
  await shown.close();
});

test("a reader who is too slow is told how many calls it missed, and no more than 4096 wait for it", async () => {
  const { kernel } = startKernel();
  const shown = await tap(kernel, {});
  const client = kernel.client(registry.RegistryService, anna);
  for (let n = 0; n < 5000; n += 1) await client.lookup({});
  let seen = 0;
  const first = await shown.next();
  expect(first.dropped).toBe(904n);
  for (let message = first; seen < 4096; message = await shown.next()) {
    seen += message.calls.length;
    if (seen === 4096) break;
  }
  expect(seen).toBe(4096);
  await shown.close();
});

test("nothing looks at calls before the first tap and after the last one", async () => {
  const { kernel, observer } = startKernel();
  expect(observer.ended).toBeUndefined();
  const [one, other] = [await tap(kernel, {}), await tap(kernel, {})];
  await one.close();
  expect(observer.ended).toBeTypeOf("function");
  await other.close();
  await waitFor(() => observer.ended === undefined, { describe: "nobody looks" });
});

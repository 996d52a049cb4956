import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { mesh, registry } from "@hms/contracts";
import { ChangeSignal } from "@hms/kernel";
import { afterAll, afterEach, expect, test } from "vitest";
import { instance, openSceneHere, registryHost } from "./testing/registry-scene.ts";

let stack = new AsyncDisposableStack();
afterAll(() => registryHost[Symbol.asyncDispose]());
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** What a mesh says, one picture of the service echo after the other. */
function openPictures() {
  const changes = new ChangeSignal();
  let content = create(mesh.SnapshotContentSchema);
  let version = 1n;
  return {
    show(split: MessageInitShape<typeof mesh.TrafficSplitSchema> | undefined) {
      const endpoints = [1n, 2n].map((revision) => ({
        endpointId: `default/echo/${revision}/1`,
        revision,
        state: mesh.EndpointState.ACTIVE,
      }));
      const service = { environment: "default", name: "echo", endpoints, ...(split ? { split } : {}) };
      content = create(mesh.SnapshotContentSchema, { services: [service] });
      version += 1n;
      changes.notify();
    },
    async *watchSnapshots(_: unknown, { signal }: { signal: AbortSignal }) {
      for (let last = 0n; ; ) {
        if (last === version) await changes.next(signal);
        last = version;
        const snapshot = { version, content: toBinary(mesh.SnapshotContentSchema, content) };
        yield create(mesh.WatchSnapshotsResponseSchema, { snapshot });
      }
    },
  };
}

test("lookups and watches say how many calls each replica is to get, as the mesh divides its requests", async () => {
  const pictures = openPictures();
  const { as } = await openSceneHere(stack, { mesh: pictures as never });
  const echo = as({ kind: "service", id: "default/echo", roles: ["service"], environment: "default" });
  for (const revision of [1, 2]) {
    const replica = `default/echo/${revision}/1`;
    await echo.register({ ...instance("hms.demo.echo", { instanceId: `at-${revision}` }), replica });
  }
  const shares = async () => {
    const { service } = await echo.lookup({ serviceId: "hms.demo.echo" });
    return service?.instances.map(({ share }) => share);
  };
  expect(await shares()).toEqual([undefined, undefined]);
  using watch = openWatch(echo);
  expect(await watch.shares()).toEqual([undefined, undefined]);
  pictures.show({ revision: 2n, share: 100 });
  expect(await watch.shares()).toEqual([19_800, 200]);
  expect(await shares()).toEqual([19_800, 200]);
  pictures.show(undefined);
  expect(await watch.shares()).toEqual([10_000, 10_000]);
});

test("only a deployed service says which replica it is: others' word is passed over", async () => {
  const pictures = openPictures();
  const { as } = await openSceneHere(stack, { mesh: pictures as never });
  pictures.show({ revision: 2n, share: 0 });
  const other = as({ kind: "service", id: "default/other", roles: ["service"], environment: "default" });
  const operator = as({ kind: "operator", id: "operator" });
  const replica = "default/echo/2/1";
  await other.register({ ...instance("hms.demo.other", { instanceId: "other" }), replica });
  await operator.register({ ...instance("hms.demo.own", { instanceId: "own" }), replica });
  for (const serviceId of ["hms.demo.other", "hms.demo.own"]) {
    const { service } = await operator.lookup({ serviceId });
    expect(service?.instances.map(({ share }) => share)).toEqual([undefined]);
  }
});

type Caller = ReturnType<Awaited<ReturnType<typeof openSceneHere>>["as"]>;

function openWatch(client: Caller) {
  const call = new AbortController();
  const stream = client.watch({ pattern: "hms.demo.*" }, { signal: call.signal })[Symbol.asyncIterator]();
  return {
    /** What the next change of a service says. */
    async shares() {
      for (;;) {
        const { value } = await stream.next();
        const { kind, service } = value as registry.WatchResponse;
        if (kind === registry.WatchEventKind.CURRENT) return service?.instances.map(({ share }) => share);
      }
    },
    [Symbol.dispose]: () => call.abort(),
  };
}

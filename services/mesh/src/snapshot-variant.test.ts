import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { requirementsOf } from "./route-requirements.ts";
import { sealContent } from "./snapshot-content.ts";
import { snapshotFor } from "./snapshot-variant.ts";

type RouteInit = MessageInitShape<typeof mesh.RouteSchema>;

function snapshotOf(routes: RouteInit[]): mesh.Snapshot {
  const picture = create(mesh.MeshServiceEntrySchema, { environment: "default", name: "a", routes });
  const traffic = { environments: [{ name: "default", slot: 0 }], services: [{ picture, slot: 0 }] };
  return create(mesh.SnapshotSchema, { version: 7n, ...sealContent(traffic, "127.88") });
}

const shown = ({ content }: mesh.Snapshot) =>
  fromBinary(mesh.SnapshotContentSchema, content).services.map(({ name, endpoints, routes }) => ({
    name,
    endpoints: endpoints.length,
    routes: routes.map(({ path, requires, auth }) => [path, requires, auth !== undefined]),
  }));

const mixed = () => snapshotOf([{ path: "/*" }, { path: "/admin/*", methods: ["GET"], auth: { roles: ["admin"] } }]);

test.each<[string, RouteInit, string[]]>([
  ["keeps answers, has its time and its end", { cacheMs: 5n, requestTimeoutMs: 5n, sunsetAt: { seconds: 1n } }, []],
  ["asks who calls", { auth: {} }, ["auth"]],
  ["limits", { limits: [{ concurrency: 1 }], maxBodyBytes: 5n }, ["limits", "max-body"]],
  ["leaves out", { requestFields: { remove: ["x-a"] } }, ["fields"]],
  [
    "fills in",
    { responseFields: { absent: { "x-a": `\${request.id}` } } },
    ["field-additions", "field-templates", "fields"],
  ],
  ["changes", { stripPrefix: "/v1", securityFields: true, requestBody: {} }, ["body", "rewrite", "security-fields"]],
])("a route that %s requires as much of data planes, and no more", (_, route, required) => {
  expect(requirementsOf(create(mesh.RouteSchema, route))).toEqual(required);
});

test("who knows what routes require gets the snapshot itself, who knows less one of its own, the same each time", () => {
  const snapshot = mixed();
  expect(snapshotFor(snapshot, ["auth", "more"])).toBe(snapshot);
  const older = snapshotFor(snapshot, []);
  expect(older).not.toBe(snapshot);
  expect(snapshotFor(snapshot, ["limits"])).toBe(older);
  expect(older.version).toBe(7n);
  expect(Buffer.compare(older.sha256, snapshot.sha256)).not.toBe(0);
});

test("a route that asks for more is nobody's for an older data plane, and takes its requests nevertheless", () => {
  expect(shown(mixed())).toEqual([
    {
      name: "a",
      endpoints: 0,
      routes: [
        ["/*", [], false],
        ["/admin/*", ["auth"], true],
      ],
    },
  ]);
  expect(shown(snapshotFor(mixed(), []))).toEqual([
    { name: "a", endpoints: 0, routes: [["/*", [], false]] },
    { name: "needs a newer data plane", endpoints: 0, routes: [["/admin/*", [], false]] },
  ]);
});

test("what a server of before has stored of routes gets its requirements too", () => {
  const stored = create(mesh.MeshServiceEntrySchema, {
    environment: "default",
    name: "a",
    routes: [{ path: "/x", auth: {} }],
  });
  const { content } = sealContent({ environments: [], services: [{ picture: stored, slot: 0 }] }, "127.88");
  expect(fromBinary(mesh.SnapshotContentSchema, content).services[0]?.routes[0]?.requires).toEqual(["auth"]);
});

describe("a data plane that knows no splits", () => {
  const endpoint = (endpointId: string, revision: bigint, own: object = {}) => ({
    ...{ endpointId, host: "127.0.0.1", port: 1, state: mesh.EndpointState.ACTIVE, weight: 1000, revision },
    ...own,
  });
  const old = endpoint("old", 1n);
  const tried = endpoint("new", 2n);
  const away = { state: mesh.EndpointState.DRAINING };

  /** Endpoints and their weights, as such a data plane sees them. */
  function weights(share: number, endpoints: object[]): string[] {
    const split = { revision: 2n, share };
    const picture = create(mesh.MeshServiceEntrySchema, { environment: "default", name: "a", endpoints, split });
    const traffic = { environments: [], services: [{ picture, slot: 0 }] };
    const snapshot = create(mesh.SnapshotSchema, { version: 7n, ...sealContent(traffic, "127.88") });
    expect(snapshotFor(snapshot, ["split"])).toBe(snapshot);
    const { content } = snapshotFor(snapshot, ["auth"]);
    const [service] = fromBinary(mesh.SnapshotContentSchema, content).services;
    expect(service?.split).toBeUndefined();
    return (service?.endpoints ?? []).map(({ endpointId, weight }) => `${endpointId} ${weight}`);
  }

  test("sends everything to the baseline, and to the tried revision only if all is meant for it", () => {
    for (const share of [0, 1, 9_999]) expect(weights(share, [tried, old])).toEqual(["new 0", "old 1000"]);
    expect(weights(10_000, [tried, old])).toEqual(["new 1000", "old 0"]);
  });

  test("sends it to the other side where that one has nobody to get it", () => {
    expect(weights(100, [tried, endpoint("old", 1n, away)])).toEqual(["new 1000", "old 1000"]);
    expect(weights(100, [tried, endpoint("old", 1n, { weight: 0 })])).toEqual(["new 1000", "old 0"]);
    expect(weights(10_000, [endpoint("new", 2n, away), old])).toEqual(["new 1000", "old 1000"]);
  });
});

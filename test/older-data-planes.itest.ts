import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { create, fromBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { createProxyEngine, type RoutingTable } from "@hms/proxy";
import { afterEach, expect, test } from "vitest";
import { ROUTE_FEATURES } from "../apps/dataplane/src/snapshot/route-rules.ts";
import { routingTable } from "../apps/dataplane/src/snapshot/routing-table.ts";
import { sealContent } from "../services/mesh/src/snapshot-content.ts";
import { snapshotFor } from "../services/mesh/src/snapshot-variant.ts";
import { normalPicture } from "../services/mesh/src/traffic-picture.ts";

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** A gateway with such a table; answers with the status of a path. */
async function gatewayOf(table: RoutingTable): Promise<(path: string) => Promise<number>> {
  const engine = stack.use(createProxyEngine());
  engine.apply(table);
  const port = await listening(engine.createServer(engine.gatewayHandler));
  return async (path) => (await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: "close" } })).status;
}

/** As a data plane reads a snapshot that knows nothing but paths and methods. */
function asBefore(table: RoutingTable): RoutingTable {
  const services = table.services.map((service) => ({
    ...service,
    routes: service.routes.map(({ path, methods }) => ({ path, methods })),
  }));
  return { ...table, services };
}

const contentOf = ({ content }: mesh.Snapshot) => fromBinary(mesh.SnapshotContentSchema, content);

/** Every demand that a route can make. */
const demanding = {
  auth: { roles: ["admin"] },
  limits: [{ count: 1, periodMs: 1000n }],
  maxBodyBytes: 1n,
  requestFields: { set: { "x-a": `\${caller.name}` }, absent: { "x-b": "1" } },
  responseFields: { add: { "x-a": "1" } },
  securityFields: true,
  stripPrefix: "/admin",
  requestBody: { wrap: "data", maxBytes: 1n },
  responseBody: { remove: ["a"], maxBytes: 1n },
};

test("a protected route is served by no data plane that does not know how to, and answers 503 there", async () => {
  const program = createServer((_, response) => response.end("served"));
  const endpointPort = await listening(program);
  stack.defer(() => void program.close());
  const picture = normalPicture(
    create(mesh.MeshServiceEntrySchema, {
      environment: "default",
      name: "shop",
      endpoints: [{ endpointId: "a", host: "127.0.0.1", port: endpointPort, state: mesh.EndpointState.ACTIVE }],
      routes: [{ path: "/*" }, { path: "/admin/*", ...demanding }],
    }),
  );
  const traffic = { environments: [{ name: "default", slot: 0 }], services: [{ picture, slot: 0 }] };
  const snapshot = create(mesh.SnapshotSchema, { version: 1n, ...sealContent(traffic, "127.88") });

  const before = await gatewayOf(asBefore(routingTable(contentOf(snapshotFor(snapshot, [])))));
  expect([await before("/open"), await before("/admin/x")]).toEqual([200, 503]);

  // This data plane knows all that the server may require: nobody is known here, so it asks.
  expect(snapshotFor(snapshot, [...ROUTE_FEATURES])).toBe(snapshot);
  const today = await gatewayOf(routingTable(contentOf(snapshot)));
  expect([await today("/open"), await today("/admin/x")]).toEqual([200, 401]);

  // What a later server requires, without asking what is known here, is refused by the data plane itself.
  const later = contentOf(snapshot);
  for (const { routes } of later.services)
    for (const route of routes) if (route.auth) route.requires.push("moon-phase");
  const unknowing = await gatewayOf(routingTable(later));
  expect([await unknowing("/open"), await unknowing("/admin/x")]).toEqual([200, 503]);
});

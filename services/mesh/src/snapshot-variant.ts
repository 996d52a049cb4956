import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { contentOf } from "./snapshot-content.ts";

/** No service can have this name, and no program can ask for it. */
const UNSERVED = "needs a newer data plane";

const variants = new WeakMap<mesh.Snapshot, Map<string, mesh.Snapshot>>();

/**
 * The snapshot for a data plane that knows these features. Routes that require more are a service's without endpoints
 * there: it answers 503, where leaving them out would open them to a shorter path's rules, and leaving them in would serve
 * them without what they demand.
 */
export function snapshotFor(snapshot: mesh.Snapshot, features: readonly string[]): mesh.Snapshot {
  const known = new Set(features);
  const missing = new Set(routesOf(snapshot).flatMap(({ requires }) => requires.filter((name) => !known.has(name))));
  if (missing.size === 0) return snapshot;
  const key = [...missing].sort().join(" ");
  const made = variants.get(snapshot) ?? new Map<string, mesh.Snapshot>();
  variants.set(snapshot, made);
  const variant = made.get(key) ?? withoutRoutes(snapshot, missing);
  made.set(key, variant);
  return variant;
}

const routesOf = (snapshot: mesh.Snapshot) => contentOf(snapshot).services.flatMap(({ routes }) => routes);

function withoutRoutes(snapshot: mesh.Snapshot, missing: ReadonlySet<string>): mesh.Snapshot {
  const isServed = ({ requires }: mesh.Route) => !requires.some((name) => missing.has(name));
  const { environments, services } = contentOf(snapshot);
  const unserved = [...Map.groupBy(services, ({ environment }) => environment)].flatMap(([environment, own]) => {
    const routes = own.flatMap((service) => service.routes.filter((route) => !isServed(route)));
    if (routes.length === 0) return [];
    const bare = routes.map(({ path, methods }) => create(mesh.RouteSchema, { path, methods }));
    return [create(mesh.MeshServiceEntrySchema, { environment, name: UNSERVED, routes: bare })];
  });
  const served = services.map((service) => ({ ...service, routes: service.routes.filter(isServed) }));
  const all = create(mesh.SnapshotContentSchema, { environments, services: [...served, ...unserved] });
  const content = toBinary(mesh.SnapshotContentSchema, all);
  const { version, createdAt } = snapshot;
  const sha256 = createHash("sha256").update(content).digest();
  return create(mesh.SnapshotSchema, { version, content, sha256, ...(createdAt ? { createdAt } : {}) });
}

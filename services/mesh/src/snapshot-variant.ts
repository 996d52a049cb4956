import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { contentOf } from "./snapshot-content.ts";
import { SHARES } from "./split-rules.ts";

/** No service can have this name, and no program can ask for it. */
const UNSERVED = "needs a newer data plane";

const variants = new WeakMap<mesh.Snapshot, Map<string, mesh.Snapshot>>();

/** What a data plane has to know to divide requests between revisions. */
const SPLIT = "split";

/**
 * The snapshot for a data plane that knows these features. Routes that require more are a service's without endpoints
 * there: it answers 503, where leaving them out would open them to a shorter path's rules, and leaving them in would serve
 * them without what they demand. To one that knows no splits a split service has only the side that gets most.
 */
export function snapshotFor(snapshot: mesh.Snapshot, features: readonly string[]): mesh.Snapshot {
  const known = new Set(features);
  const missing = new Set(requiredBy(snapshot).filter((name) => !known.has(name)));
  if (missing.size === 0) return snapshot;
  const key = [...missing].sort().join(" ");
  const made = variants.get(snapshot) ?? new Map<string, mesh.Snapshot>();
  variants.set(snapshot, made);
  const variant = made.get(key) ?? without(snapshot, missing);
  made.set(key, variant);
  return variant;
}

const requiredBy = (snapshot: mesh.Snapshot) =>
  contentOf(snapshot).services.flatMap(({ routes, split }) => [
    ...routes.flatMap(({ requires }) => requires),
    ...(split ? [SPLIT] : []),
  ]);

function without(snapshot: mesh.Snapshot, missing: ReadonlySet<string>): mesh.Snapshot {
  const isServed = ({ requires }: mesh.Route) => !requires.some((name) => missing.has(name));
  const { environments, services } = contentOf(snapshot);
  const unserved = [...Map.groupBy(services, ({ environment }) => environment)].flatMap(([environment, own]) => {
    const routes = own.flatMap((service) => service.routes.filter((route) => !isServed(route)));
    if (routes.length === 0) return [];
    const bare = routes.map(({ path, methods }) => create(mesh.RouteSchema, { path, methods }));
    return [create(mesh.MeshServiceEntrySchema, { environment, name: UNSERVED, routes: bare })];
  });
  const served = services
    .map((service) => (missing.has(SPLIT) ? undivided(service) : service))
    .map((service) => ({ ...service, routes: service.routes.filter(isServed) }));
  const all = create(mesh.SnapshotContentSchema, { environments, services: [...served, ...unserved] });
  const content = toBinary(mesh.SnapshotContentSchema, all);
  const { version, createdAt } = snapshot;
  const sha256 = createHash("sha256").update(content).digest();
  return create(mesh.SnapshotSchema, { version, content, sha256, ...(createdAt ? { createdAt } : {}) });
}

/**
 * A split service for who divides nothing: the baseline gets everything, the tried revision only if all is meant for it.
 * Where that side has nobody to get it, the other does, as with a split.
 */
function undivided({ split, ...service }: mesh.MeshServiceEntry): mesh.MeshServiceEntry {
  if (split === undefined) return service;
  const isForTried = split.share >= SHARES;
  const isMeant = ({ revision }: mesh.Endpoint) => (revision === split.revision) === isForTried;
  const accepts = ({ state, weight }: mesh.Endpoint) => state === mesh.EndpointState.ACTIVE && weight !== 0;
  if (!service.endpoints.some((endpoint) => isMeant(endpoint) && accepts(endpoint))) return service;
  return {
    ...service,
    endpoints: service.endpoints.map((endpoint) => (isMeant(endpoint) ? endpoint : { ...endpoint, weight: 0 })),
  };
}

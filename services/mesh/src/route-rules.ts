import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { FieldReport } from "./field-report.ts";
import { normalDemands } from "./route-demands.ts";
import { claimsOverlap, parsePath, type RouteClaim } from "./route-pattern.ts";

const METHOD = /^[A-Z][A-Z-]{0,31}$/;
const MOST_ROUTES = 1000;

/** "GET, POST /receipt", or "/receipt" for all methods. */
const shown = ({ methods, path }: mesh.Route) => [methods.join(", "), path].filter(Boolean).join(" ");

const sortKey = ({ methods, path }: mesh.Route) => `${path} ${methods.join(",")}`;

function readClaim(route: mesh.Route, at: string, report: FieldReport): RouteClaim | undefined {
  for (const method of route.methods) {
    if (!METHOD.test(method)) report(`${at}.methods`, `"${method.slice(0, 40)}" is no method; write GET, POST, ….`);
  }
  const parsed = parsePath(route.path);
  if ("pattern" in parsed) return { pattern: parsed.pattern, methods: route.methods };
  report(`${at}.path`, parsed.problem);
  return undefined;
}

/** Routes in the order of their paths, methods sorted; reports bad paths, bad methods, and routes that overlap. */
export function normalRoutes(given: readonly mesh.Route[], report: FieldReport): mesh.Route[] {
  if (given.length > MOST_ROUTES) report("service.routes", `has more than ${MOST_ROUTES} routes.`);
  const claims = new Map<string, RouteClaim[]>();
  for (const [index, route] of given.entries()) {
    const claim = readClaim(route, `service.routes[${index}]`, report);
    if (claim === undefined) continue;
    const others = claims.get(claim.pattern) ?? [];
    if (others.some((other) => claimsOverlap(other, claim))) {
      report(`service.routes[${index}]`, `${shown(route)} is given twice; leave one out.`);
    }
    claims.set(claim.pattern, [...others, claim]);
  }
  return given
    .map((route, index) => {
      const { path, methods } = route;
      const demands = normalDemands(route, `service.routes[${index}]`, report);
      return create(mesh.RouteSchema, { path, methods: [...new Set(methods)].sort(), ...demands });
    })
    .sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

/** A claim as stored: its path has been read before. */
function claimOf({ path, methods }: mesh.Route): RouteClaim {
  const parsed = parsePath(path);
  return { pattern: "pattern" in parsed ? parsed.pattern : path, methods };
}

/** The first route of the candidate that some service of its environment has already, and who has it. */
export function findRouteConflict(
  candidate: mesh.MeshServiceEntry,
  services: Iterable<mesh.MeshServiceEntry>,
): { route: string; holder: mesh.MeshServiceEntry } | undefined {
  const own = candidate.routes.map((route) => ({ route, claim: claimOf(route) }));
  if (own.length === 0) return undefined;
  for (const holder of services) {
    if (holder.environment !== candidate.environment || holder.name === candidate.name) continue;
    for (const theirs of holder.routes.map(claimOf)) {
      const found = own.find(({ claim }) => claimsOverlap(claim, theirs));
      if (found) return { route: shown(found.route), holder };
    }
  }
  return undefined;
}

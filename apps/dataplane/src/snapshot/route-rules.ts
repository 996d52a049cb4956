import { mesh } from "@hms/contracts";
import type { LimitScope, RouteLimit, RouteRules } from "@hms/proxy";

const SCOPES: Readonly<Record<mesh.LimitScope, LimitScope>> = {
  [mesh.LimitScope.UNSPECIFIED]: "address",
  [mesh.LimitScope.ADDRESS]: "address",
  [mesh.LimitScope.PRINCIPAL]: "principal",
  [mesh.LimitScope.CREDENTIAL]: "credential",
  [mesh.LimitScope.ROUTE]: "route",
};

/** What a route of a snapshot demands, without what it does not. */
export function rulesOf(route: mesh.Route): RouteRules {
  const { auth, limits, maxBodyBytes, requestFields, responseFields, securityFields, cacheMs } = route;
  return {
    ...(auth ? { auth: authOf(auth) } : {}),
    ...(limits.length > 0 ? { limits: limits.map(limitOf) } : {}),
    ...(maxBodyBytes > 0n ? { maxBodyBytes: Number(maxBodyBytes) } : {}),
    ...(requestFields ? { requestFields } : {}),
    ...(responseFields ? { responseFields } : {}),
    ...(securityFields ? { hasSecurityFields: true } : {}),
    ...(cacheMs > 0n ? { cacheMs: Number(cacheMs) } : {}),
  };
}

const authOf = ({ optional, roles, permission, mfa }: mesh.RouteAuth) => ({
  isOptional: optional,
  roles,
  permission,
  needsMfa: mfa,
});

function limitOf({ by, count, periodMs, burst, concurrency }: mesh.RouteLimit): RouteLimit {
  // A scope of a newer version is kept narrow.
  return { by: SCOPES[by] ?? "address", count, periodMs: Number(periodMs), burst: Math.max(burst, 1), concurrency };
}

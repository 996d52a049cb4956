import { mesh } from "@hms/contracts";
import type { LimitScope, RouteLimit, RouteRules } from "@hms/proxy";

const SCOPES: Readonly<Record<mesh.LimitScope, LimitScope>> = {
  [mesh.LimitScope.UNSPECIFIED]: "address",
  [mesh.LimitScope.ADDRESS]: "address",
  [mesh.LimitScope.PRINCIPAL]: "principal",
  [mesh.LimitScope.CREDENTIAL]: "credential",
  [mesh.LimitScope.ROUTE]: "route",
};

/** What this data plane knows of what routes may require. */
export const ROUTE_FEATURES: ReadonlySet<string> = new Set([
  "auth",
  "body",
  "field-additions",
  "field-templates",
  "fields",
  "limits",
  "max-body",
  "rewrite",
  "security-fields",
]);

/** What a route of a snapshot demands, without what it does not. */
export function rulesOf(route: mesh.Route): RouteRules {
  const { auth, limits, maxBodyBytes, requestFields, responseFields, securityFields, cacheMs, requestTimeoutMs } =
    route;
  const unknown = route.requires.filter((name) => !ROUTE_FEATURES.has(name));
  return {
    ...(unknown.length > 0 ? { unknown } : {}),
    ...(auth ? { auth: authOf(auth) } : {}),
    ...(limits.length > 0 ? { limits: limits.map(limitOf) } : {}),
    ...(maxBodyBytes > 0n ? { maxBodyBytes: Number(maxBodyBytes) } : {}),
    ...(requestFields ? { requestFields } : {}),
    ...(responseFields ? { responseFields } : {}),
    ...(securityFields ? { hasSecurityFields: true } : {}),
    ...(cacheMs > 0n ? { cacheMs: Number(cacheMs) } : {}),
    ...(requestTimeoutMs > 0n ? { requestTimeoutMs: Number(requestTimeoutMs) } : {}),
    ...versionOf(route),
    ...(route.requestBody ? { requestBody: bodyOf(route.requestBody) } : {}),
    ...(route.responseBody ? { responseBody: bodyOf(route.responseBody) } : {}),
  };
}

function versionOf({ stripPrefix, addPrefix, deprecatedAt, sunsetAt, deprecationLink }: mesh.Route) {
  const isRewritten = stripPrefix !== "" || addPrefix !== "";
  const isDeprecated = deprecatedAt !== undefined || sunsetAt !== undefined || deprecationLink !== "";
  return {
    ...(isRewritten ? { rewrite: { strip: stripPrefix, add: addPrefix } } : {}),
    ...(isDeprecated
      ? { deprecation: { at: secondsOf(deprecatedAt), sunsetAt: secondsOf(sunsetAt), link: deprecationLink } }
      : {}),
  };
}

const secondsOf = (time: { seconds: bigint } | undefined) => (time === undefined ? null : Number(time.seconds));

const bodyOf = ({ rename, remove, add, wrap, maxBytes }: mesh.BodyChanges) => ({
  rename,
  remove,
  add,
  wrap,
  maxBytes: Number(maxBytes),
});

const authOf = ({ optional, roles, permission, mfa, mfaMaxAgeMs }: mesh.RouteAuth) => ({
  isOptional: optional,
  roles,
  permission,
  needsMfa: mfa,
  mfaMaxAgeMs: Number(mfaMaxAgeMs),
});

function limitOf({ by, count, periodMs, burst, concurrency }: mesh.RouteLimit): RouteLimit {
  // A scope of a newer version is kept narrow.
  return { by: SCOPES[by] ?? "address", count, periodMs: Number(periodMs), burst: Math.max(burst, 1), concurrency };
}

import type { MessageInitShape } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { type Manifest, parseRequestRate, secondsOfDate } from "@hms/manifest";

type Route = Manifest["routes"][number];
type Limit = Route["limits"][number];
type FieldChanges = Partial<Route["requestHeaders"]>;
type BodyChanges = Route["requestBody"];

const SCOPES: Readonly<Record<Limit["by"], mesh.LimitScope>> = {
  address: mesh.LimitScope.ADDRESS,
  principal: mesh.LimitScope.PRINCIPAL,
  credential: mesh.LimitScope.CREDENTIAL,
  route: mesh.LimitScope.ROUTE,
};

/** A route of a manifest as the mesh takes it; manifests that were stored by older versions demand nothing. */
export function meshRoute(
  stored: Pick<Route, "path" | "methods"> & Partial<Route>,
): MessageInitShape<typeof mesh.RouteSchema> {
  const { path, methods, auth = "public", roles = [], permission = "", mfa = false, mfaMaxAgeMs } = stored;
  const {
    limits = [],
    maxBodyBytes = 0,
    requestHeaders,
    responseHeaders,
    securityHeaders = false,
    cacheMs = 0,
  } = stored;
  const age = mfaMaxAgeMs === undefined ? {} : { mfaMaxAgeMs: BigInt(mfaMaxAgeMs) };
  const factor = { mfa: mfa || mfaMaxAgeMs !== undefined, ...age };
  return {
    path,
    methods: [...methods],
    ...(auth === "public" ? {} : { auth: { optional: auth === "optional", roles: [...roles], permission, ...factor } }),
    limits: limits.map(meshLimit),
    maxBodyBytes: BigInt(maxBodyBytes),
    ...changes("requestFields", requestHeaders),
    ...changes("responseFields", responseHeaders),
    securityFields: securityHeaders,
    cacheMs: BigInt(cacheMs),
    ...versionOf(stored),
    ...bodies("requestBody", stored.requestBody),
    ...bodies("responseBody", stored.responseBody),
  };
}

/** Keys that were left out stay so: a manifest of before is the same picture as before. */
function versionOf({ stripPrefix, addPrefix, deprecated, sunset, deprecationLink, timeoutMs }: Partial<Route>) {
  const at = (day: string) => ({ seconds: BigInt(secondsOfDate(day)), nanos: 0 });
  return {
    ...(stripPrefix === undefined ? {} : { stripPrefix }),
    ...(addPrefix === undefined ? {} : { addPrefix }),
    ...(deprecated === undefined ? {} : { deprecatedAt: at(deprecated) }),
    ...(sunset === undefined ? {} : { sunsetAt: at(sunset) }),
    ...(deprecationLink === undefined ? {} : { deprecationLink }),
    ...(timeoutMs === undefined ? {} : { requestTimeoutMs: BigInt(timeoutMs) }),
  };
}

function bodies(name: "requestBody" | "responseBody", given: BodyChanges | undefined) {
  const { rename = {}, remove = [], add = {}, wrap = "", maxBytes = 0 } = given ?? {};
  if (Object.keys(rename).length + remove.length + Object.keys(add).length === 0 && wrap === "") return {};
  const values = Object.entries(add).map(([member, value]) => [member, JSON.stringify(value)]);
  return {
    [name]: {
      rename: { ...rename },
      remove: [...remove],
      add: Object.fromEntries(values),
      wrap,
      maxBytes: BigInt(maxBytes),
    },
  };
}

function meshLimit({ by, rate, burst, concurrency = 0 }: Limit): MessageInitShape<typeof mesh.RouteLimitSchema> {
  const { count, periodMs } = parseRequestRate(rate ?? "") ?? { count: 0, periodMs: 0 };
  return { by: SCOPES[by], count, periodMs: BigInt(periodMs), burst: burst ?? count, concurrency };
}

function changes(name: "requestFields" | "responseFields", given: FieldChanges | undefined) {
  const { set = {}, remove = [], add = {}, default: absent = {} } = given ?? {};
  const all = [set, add, absent].map((values) => Object.keys(values).length);
  if (remove.length === 0 && all.every((count) => count === 0)) return {};
  return { [name]: { set: { ...set }, remove: [...remove], add: { ...add }, absent: { ...absent } } };
}

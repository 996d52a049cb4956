import type { MessageInitShape } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { type Manifest, parseRequestRate } from "@hms/manifest";

type Route = Manifest["routes"][number];
type Limit = Route["limits"][number];
type FieldChanges = Route["requestHeaders"];

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
  const { path, methods, auth = "public", roles = [], permission = "", mfa = false } = stored;
  const {
    limits = [],
    maxBodyBytes = 0,
    requestHeaders,
    responseHeaders,
    securityHeaders = false,
    cacheMs = 0,
  } = stored;
  return {
    path,
    methods: [...methods],
    ...(auth === "public" ? {} : { auth: { optional: auth === "optional", roles: [...roles], permission, mfa } }),
    limits: limits.map(meshLimit),
    maxBodyBytes: BigInt(maxBodyBytes),
    ...changes("requestFields", requestHeaders),
    ...changes("responseFields", responseHeaders),
    securityFields: securityHeaders,
    cacheMs: BigInt(cacheMs),
  };
}

function meshLimit({ by, rate, burst, concurrency = 0 }: Limit): MessageInitShape<typeof mesh.RouteLimitSchema> {
  const { count, periodMs } = parseRequestRate(rate ?? "") ?? { count: 0, periodMs: 0 };
  return { by: SCOPES[by], count, periodMs: BigInt(periodMs), burst: burst ?? count, concurrency };
}

function changes(name: "requestFields" | "responseFields", given: FieldChanges | undefined) {
  const { set = {}, remove = [] } = given ?? {};
  if (Object.keys(set).length === 0 && remove.length === 0) return {};
  return { [name]: { set: { ...set }, remove: [...remove] } };
}

import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { FieldReport } from "./field-report.ts";

const MOST_LIMITS = 16;
const MOST_ROLES = 100;
const MOST_FIELDS = 64;
const LONGEST_MS = 24 * 3600 * 1000;
const MOST = 10_000_000;
const ROLE = /^[!-~]{1,200}$/;
const PERMISSION = /^(?:[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*)?$/;
const FIELD_NAME = /^[a-z0-9][a-z0-9-]{0,63}$/;
const FIELD_VALUE = /^[!-~](?:[ -~]{0,1022}[!-~])?$/;
/** What data planes say themselves, what belongs to one connection, and credentials. */
const NOT_CHANGED =
  /^(?:host|connection|content-length|transfer-encoding|keep-alive|proxy-.*|upgrade|te|trailer|expect|authorization|x-request-id|x-forwarded-.*|x-hms-.*)$/;

/** What a route demands beyond path and method, in its one form; reports what a data plane could not do. */
export function normalDemands(route: mesh.Route, at: string, report: FieldReport) {
  const whole = (name: string, value: bigint | number, most: number) => {
    if (Number(value) < 0 || Number(value) > most) report(`${at}.${name}`, `is ${value}; use 0 to ${most}.`);
    return value;
  };
  whole("max_body_bytes", route.maxBodyBytes, Number.MAX_SAFE_INTEGER);
  whole("cache_ms", route.cacheMs, LONGEST_MS);
  if (route.limits.length > MOST_LIMITS) report(`${at}.limits`, `has more than ${MOST_LIMITS} limits.`);
  return {
    ...(route.auth ? { auth: normalAuth(route.auth, `${at}.auth`, report) } : {}),
    limits: route.limits.map((limit, index) => normalLimit(limit, `${at}.limits[${index}]`, report)),
    maxBodyBytes: route.maxBodyBytes,
    ...(route.requestFields
      ? { requestFields: normalFields(route.requestFields, `${at}.request_fields`, report) }
      : {}),
    ...(route.responseFields
      ? { responseFields: normalFields(route.responseFields, `${at}.response_fields`, report) }
      : {}),
    securityFields: route.securityFields,
    cacheMs: route.cacheMs,
  };
}

function normalAuth(
  { optional, roles, permission, mfa }: mesh.RouteAuth,
  at: string,
  report: FieldReport,
): mesh.RouteAuth {
  if (roles.length > MOST_ROLES) report(`${at}.roles`, `has more than ${MOST_ROLES} roles.`);
  for (const role of roles) if (!ROLE.test(role)) report(`${at}.roles`, `"${role.slice(0, 40)}" is no role.`);
  if (!PERMISSION.test(permission)) report(`${at}.permission`, "is no permission; write resource:verb.");
  return create(mesh.RouteAuthSchema, { optional, roles: [...new Set(roles)].sort(), permission, mfa });
}

function normalLimit(limit: mesh.RouteLimit, at: string, report: FieldReport): mesh.RouteLimit {
  const { by, count, periodMs, burst, concurrency } = limit;
  for (const [name, value] of Object.entries({ count, burst, concurrency })) {
    if (value < 0 || value > MOST) report(`${at}.${name}`, `is ${value}; use 0 to ${MOST}.`);
  }
  if (count > 0 && (periodMs < 1n || periodMs > BigInt(LONGEST_MS)))
    report(`${at}.period_ms`, `is ${periodMs}; use 1 to ${LONGEST_MS}.`);
  if (count === 0 && concurrency === 0) report(at, "limits nothing; give count or concurrency.");
  return create(mesh.RouteLimitSchema, {
    by: by === mesh.LimitScope.UNSPECIFIED ? mesh.LimitScope.ADDRESS : by,
    count,
    periodMs: count > 0 ? periodMs : 0n,
    burst: burst > 0 ? burst : count,
    concurrency,
  });
}

function normalFields({ set, remove }: mesh.FieldChanges, at: string, report: FieldReport): mesh.FieldChanges {
  const names = [...Object.keys(set), ...remove];
  if (names.length > MOST_FIELDS) report(at, `names more than ${MOST_FIELDS} fields.`);
  for (const name of names) {
    if (!FIELD_NAME.test(name)) report(at, `"${name.slice(0, 64)}" is no name of a field; write it in lower case.`);
    else if (NOT_CHANGED.test(name)) report(at, `${name} is not to be changed; data planes say it themselves.`);
  }
  for (const [name, value] of Object.entries(set)) {
    if (!FIELD_VALUE.test(value)) report(`${at}.set`, `what ${name.slice(0, 64)} is set to cannot stand in a field.`);
  }
  const sorted = Object.fromEntries(Object.entries(set).sort(([a], [b]) => (a < b ? -1 : 1)));
  return create(mesh.FieldChangesSchema, { set: sorted, remove: [...new Set(remove)].sort() });
}

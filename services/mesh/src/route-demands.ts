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
const PREFIX = /^(?:\/(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})+){0,16}$/;
const LINK = /^(?:https?:\/\/[^\s"<>\\^`{|}]{1,500})?$/;
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
  whole("request_timeout_ms", route.requestTimeoutMs, LONGEST_MS);
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
    requestTimeoutMs: route.requestTimeoutMs,
    ...normalVersion(route, at, report),
    ...(route.requestBody ? { requestBody: normalBody(route.requestBody, `${at}.request_body`, report) } : {}),
    ...(route.responseBody ? { responseBody: normalBody(route.responseBody, `${at}.response_body`, report) } : {}),
  };
}

function normalVersion(route: mesh.Route, at: string, report: FieldReport) {
  const { path, stripPrefix, addPrefix, deprecatedAt, sunsetAt, deprecationLink } = route;
  const isPrefix = (prefix: string) => PREFIX.test(prefix) && !/\/\.\.?(?:\/|$)/.test(prefix);
  if (!isPrefix(stripPrefix) || (stripPrefix !== "" && !`${path}/`.startsWith(`${stripPrefix}/`))) {
    report(`${at}.strip_prefix`, `"${stripPrefix.slice(0, 80)}" is no whole beginning of the path.`);
  }
  if (!isPrefix(addPrefix)) report(`${at}.add_prefix`, `"${addPrefix.slice(0, 80)}" is no beginning of a path.`);
  if (!LINK.test(deprecationLink)) report(`${at}.deprecation_link`, "is no address; write https://….");
  return {
    stripPrefix,
    addPrefix,
    deprecationLink,
    ...(deprecatedAt ? { deprecatedAt } : {}),
    ...(sunsetAt ? { sunsetAt } : {}),
  };
}

/** A second factor counts no longer anyway. */
const LONGEST_MFA_AGE_MS = 12n * 3_600_000n;

function normalAuth(
  { optional, roles, permission, mfa, mfaMaxAgeMs }: mesh.RouteAuth,
  at: string,
  report: FieldReport,
): mesh.RouteAuth {
  if (roles.length > MOST_ROLES) report(`${at}.roles`, `has more than ${MOST_ROLES} roles.`);
  for (const role of roles) if (!ROLE.test(role)) report(`${at}.roles`, `"${role.slice(0, 40)}" is no role.`);
  if (!PERMISSION.test(permission)) report(`${at}.permission`, "is no permission; write resource:verb.");
  if (mfaMaxAgeMs < 0n || mfaMaxAgeMs > LONGEST_MFA_AGE_MS)
    report(`${at}.mfa_max_age_ms`, `is ${mfaMaxAgeMs}; use 0 to ${LONGEST_MFA_AGE_MS}.`);
  return create(mesh.RouteAuthSchema, {
    optional,
    roles: [...new Set(roles)].sort(),
    permission,
    // Who says how old it may be demands one.
    mfa: mfa || mfaMaxAgeMs > 0n,
    mfaMaxAgeMs,
  });
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

function normalFields(given: mesh.FieldChanges, at: string, report: FieldReport): mesh.FieldChanges {
  const { set, remove, add, absent } = given;
  const names = [...Object.keys(set), ...remove, ...Object.keys(add), ...Object.keys(absent)];
  if (names.length > MOST_FIELDS) report(at, `names more than ${MOST_FIELDS} fields.`);
  for (const name of names) {
    if (!FIELD_NAME.test(name)) report(at, `"${name.slice(0, 64)}" is no name of a field; write it in lower case.`);
    else if (NOT_CHANGED.test(name)) report(at, `${name} is not to be changed; data planes say it themselves.`);
  }
  for (const [kind, values] of Object.entries({ set, add, absent })) {
    for (const [name, value] of Object.entries(values)) {
      const isKnown = [...value.matchAll(TEMPLATE)].every(([, what = ""]) => TEMPLATES.has(what));
      if (!FIELD_VALUE.test(value) || !isKnown)
        report(`${at}.${kind}`, `what ${name.slice(0, 64)} is set to cannot stand in a field.`);
    }
  }
  return create(mesh.FieldChangesSchema, {
    set: sorted(set),
    remove: [...new Set(remove)].sort(),
    add: sorted(add),
    absent: sorted(absent),
  });
}

const sorted = (values: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)));

const TEMPLATE = /\$\{([^}]*)\}?/g;
const TEMPLATES = new Set(["caller.name", "request.id", "client.address"]);
const BODY_NAME = /^(?!.*(?:^|\.)__proto__(?:\.|$))[A-Za-z0-9_$@-]{1,64}(?:\.[A-Za-z0-9_$@-]{1,64}){0,7}$/;
const MOST_BODY_BYTES = 16 * 1024 * 1024;

function normalBody(given: mesh.BodyChanges, at: string, report: FieldReport): mesh.BodyChanges {
  const { rename, remove, add, wrap, maxBytes } = given;
  const names = [...Object.entries(rename).flat(), ...remove, ...Object.keys(add), ...(wrap === "" ? [] : [wrap])];
  if (names.length > MOST_FIELDS) report(at, `names more than ${MOST_FIELDS} members.`);
  for (const name of names) if (!BODY_NAME.test(name)) report(at, `"${name.slice(0, 64)}" is no name of a member.`);
  for (const name of [...Object.values(rename), ...(wrap === "" ? [] : [wrap])]) {
    if (name.includes(".")) report(at, `"${name.slice(0, 64)}" has a dot; a new name stays in its object.`);
  }
  for (const [name, value] of Object.entries(add)) {
    if (!isJson(value)) report(`${at}.add`, `what ${name.slice(0, 64)} is set to is no JSON.`);
  }
  if (maxBytes < 1n || maxBytes > BigInt(MOST_BODY_BYTES)) {
    report(`${at}.max_bytes`, `is ${maxBytes}; use 1 to ${MOST_BODY_BYTES}.`);
  }
  return create(mesh.BodyChangesSchema, {
    rename: sorted(rename),
    remove: [...new Set(remove)].sort(),
    add: sorted(add),
    wrap,
    maxBytes,
  });
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

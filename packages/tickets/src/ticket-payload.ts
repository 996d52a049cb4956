import { ffiOptions } from "@hms/contracts";
import { type Principal, principalName } from "@hms/kernel";

/** The longest life of a ticket in seconds. */
export const LONGEST_TICKET_S = 60;

/** What a ticket says. */
export interface TicketClaims {
  /** Names the ticket, for logs. */
  readonly id: string;
  /** The instance it is for; see `ticketAudience`. */
  readonly audience: string;
  readonly principal: Principal;
  /** Whole seconds since 1970. */
  readonly issuedAt: number;
  /** Whole seconds since 1970, at most 60 after `issuedAt`. */
  readonly expiresAt: number;
  /** What may be called, and what a call leaves in the audit log: by "Service/Method", "Service/*" or "*". */
  readonly methods: ReadonlyMap<string, ffiOptions.AuditLevel>;
}

/** The instance of a service that a ticket is for. */
export interface TicketInstance {
  environment: string;
  serviceId: string;
  version: string;
  instanceId: string;
}

/** An instance as tickets name it: "default/hms.cdf.debate/v1/i-1". */
export function ticketAudience({ environment, serviceId, version, instanceId }: TicketInstance): string {
  return `${environment}/${serviceId}/${version}/${instanceId}`;
}

const { NONE, METADATA, REQUEST } = ffiOptions.AuditLevel;
const LEVELS = new Map<unknown, ffiOptions.AuditLevel>([
  ["none", NONE],
  ["metadata", METADATA],
  ["request", REQUEST],
]);
const WORDS = new Map([...LEVELS].map(([word, level]) => [level, word as string]));
const KINDS = new Map<string | undefined, Principal["kind"]>(
  (["operator", "component", "service", "user"] as const).map((kind) => [kind, kind]),
);
const BASE64URL = /^[A-Za-z0-9_-]+$/;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The middle part of a ticket; levels that are not set count as metadata. */
export function writePayload({ id, audience, principal, issuedAt, expiresAt, methods }: TicketClaims): string {
  const { roles = [], groups = [], mfa = false, environment, scopes, endsAtMs, authenticatedAtMs } = principal;
  const { credential, methods: amr } = principal;
  const payload = {
    id,
    aud: audience,
    sub: principalName(principal),
    ...(environment === undefined ? {} : { env: environment }),
    roles,
    ...(groups.length === 0 ? {} : { grp: groups }),
    mfa,
    ...(amr === undefined ? {} : { amr }),
    ...(credential === undefined ? {} : { crd: credential }),
    ...(scopes === undefined ? {} : { scp: scopes }),
    ...(endsAtMs === undefined ? {} : { end: endsAtMs }),
    ...(authenticatedAtMs === undefined ? {} : { ath: authenticatedAtMs }),
    iat: issuedAt,
    exp: expiresAt,
    mth: Object.fromEntries([...methods].map(([method, level]) => [method, WORDS.get(level) ?? "metadata"])),
  };
  return Buffer.from(JSON.stringify(payload)).toString("base64url");
}

/** Reads the middle part of a ticket whose signature is right; undefined if it is none. */
export function readPayload(text: string): TicketClaims | undefined {
  if (!BASE64URL.test(text)) return undefined;
  try {
    return claimsOf(JSON.parse(utf8.decode(Buffer.from(text, "base64url"))));
  } catch {
    return undefined;
  }
}

function claimsOf(payload: unknown): TicketClaims | undefined {
  if (!isObject(payload)) return undefined;
  const { id, aud, iat, exp, mth } = payload;
  const principal = principalOf(payload);
  const methods = isObject(mth) ? methodsOf(mth) : undefined;
  if (typeof id !== "string" || typeof aud !== "string" || !isMoment(iat) || !isMoment(exp)) return undefined;
  if (principal === undefined || methods === undefined) return undefined;
  return { id, audience: aud, principal, issuedAt: iat, expiresAt: exp, methods };
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === "string");

function principalOf(payload: Record<string, unknown>): Principal | undefined {
  const { sub, roles = [], mfa = false, end, ath } = payload;
  if (typeof sub !== "string" || typeof mfa !== "boolean" || !isTexts(roles)) return undefined;
  if (end !== undefined && !isMoment(end)) return undefined;
  const texts = textsOf(payload);
  const [, word, id] = /^([a-z]+):(.+)$/s.exec(sub) ?? [];
  const kind = KINDS.get(word);
  if (kind === undefined || id === undefined || texts === undefined) return undefined;
  const further = {
    ...texts,
    ...(end === undefined ? {} : { endsAtMs: end }),
    ...(isMoment(ath) ? { authenticatedAtMs: ath } : {}),
  };
  return Object.freeze({ kind, id, roles, mfa, ...further });
}

/** What is said of a principal in texts and lists of texts, by its names; undefined: something of it is neither. */
function textsOf({ env, grp, amr, crd, scp }: Record<string, unknown>): Partial<Principal> | undefined {
  if ([env, crd].some((text) => text !== undefined && typeof text !== "string")) return undefined;
  if ([grp, amr, scp].some((list) => list !== undefined && !isTexts(list))) return undefined;
  const named = { environment: env, groups: grp, methods: amr, credential: crd, scopes: scp };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}

function methodsOf(mth: Record<string, unknown>): Map<string, ffiOptions.AuditLevel> | undefined {
  const methods = new Map<string, ffiOptions.AuditLevel>();
  for (const [method, word] of Object.entries(mth)) {
    const level = LEVELS.get(word);
    if (level === undefined) return undefined;
    methods.set(method, level);
  }
  return methods;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isMoment(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Who makes a call. */
export interface Principal {
  /**
   * What it is: a person at the operator's socket, a part of the platform, a deployed service, a known person or
   * program from outside, or nobody known.
   */
  readonly kind: "operator" | "component" | "service" | "user" | "anonymous";
  /** Unique within its kind: "operator", "hms.sys.deployment", "default/payment-svc", "anna". */
  readonly id: string;
  /** What people call it: an account's login. For messages only; nothing is decided by it. Default: its id. */
  readonly login?: string;
  /** What access policies go by; default none. */
  readonly roles?: readonly string[];
  /** Groups that it is in, for policies that speak of them; default none. */
  readonly groups?: readonly string[];
  /** True if it has shown a second factor; default false. */
  readonly mfa?: boolean;
  /** Where a deployed service or program lives: the only environment whose services and events are open to it. */
  readonly environment?: string;
  /** Permissions that it is limited to, whatever its roles say; "*" is all. Default: it is not limited. */
  readonly scopes?: readonly string[];
  /** By what it came in, for the audit log: "session:…", "key:…", "grant:…". Default: what came in is not told apart. */
  readonly credential?: string;
  /** How it has shown who it is (RFC 8176 where that has a word), for the audit log; default: not known. */
  readonly methods?: readonly string[];
  /** When its session ends, in milliseconds since 1970; nothing made for it lives longer. Default: it has no end. */
  readonly endsAtMs?: number;
  /**
   * When its person last showed who they are, in milliseconds since 1970. Default: nobody did, as with API keys and programs
   * of their own.
   */
  readonly authenticatedAtMs?: number;
}

/** Nobody known; allowed nothing. */
export const anonymous: Principal = Object.freeze({ kind: "anonymous", id: "anonymous" });

/** A part of the platform, by the id of its service or process. */
export function componentPrincipal(id: string): Principal {
  return Object.freeze({ kind: "component", id });
}

/** Whether a principal lives in another environment than this one: roles there mean nothing here. */
export function livesElsewhere(principal: Principal, environment: string): boolean {
  return principal.environment !== undefined && principal.environment !== environment;
}

/** Whether what a principal has shown lets it use a permission: by its name, by "resource:*", by "*", or without limits. */
export function isWithinScopes({ scopes }: Pick<Principal, "scopes">, permission: string): boolean {
  if (scopes === undefined || scopes.includes(permission) || scopes.includes("*")) return true;
  return scopes.includes(`${permission.slice(0, permission.indexOf(":"))}:*`);
}

/** A principal as tickets, audit events and operations name it: "user:anna", "service:default/payment-svc". */
export function principalName({ kind, id }: Principal): string {
  return `${kind}:${id}`;
}

/** A principal as messages to people name it: by its login where it has one, "user:anna". */
export function spokenName({ kind, id, login = id }: Principal): string {
  return `${kind}:${login}`;
}

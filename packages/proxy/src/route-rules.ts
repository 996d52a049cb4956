/** What a route demands of its callers beyond path and method; everything is optional. */
export interface RouteRules {
  readonly auth?: RouteAuth;
  readonly limits?: readonly RouteLimit[];
  /** Largest request body, bytes; larger ones are answered 413. */
  readonly maxBodyBytes?: number;
  readonly requestFields?: FieldChanges;
  readonly responseFields?: FieldChanges;
  /** Adds what keeps browsers from the usual mistakes, where the service does not say it. */
  readonly hasSecurityFields?: boolean;
  /** Answers to GET and HEAD are kept for this long, if the service's own word allows it. */
  readonly cacheMs?: number;
}

/** Who may come in. */
export interface RouteAuth {
  /** Whether somebody without credentials is let through as nobody known. */
  readonly isOptional: boolean;
  /** One of these is needed; empty: none. */
  readonly roles: readonly string[];
  /** A permission that is needed, "resource:verb"; empty: none. */
  readonly permission: string;
  /** Whether a second factor is needed. */
  readonly needsMfa: boolean;
}

/** Who shares a limit: a client's address, a known caller, what it has shown, or everybody of the route. */
export type LimitScope = "address" | "principal" | "credential" | "route";

/** One limit of a route. */
export interface RouteLimit {
  readonly by: LimitScope;
  /** So many requests in the period; 0: no limit of the rate. */
  readonly count: number;
  readonly periodMs: number;
  /** So many of them at once. */
  readonly burst: number;
  /** So many that run at the same time; 0: no limit. */
  readonly concurrency: number;
}

/** Fields that are set, over those of the same name, and fields that are left out. */
export interface FieldChanges {
  readonly set: Readonly<Record<string, string>>;
  readonly remove: readonly string[];
}

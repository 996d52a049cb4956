/** What a route demands of its callers beyond path and method; everything is optional. */
export interface RouteRules {
  /** What the route requires and nobody here knows; requests are answered 503. */
  readonly unknown?: readonly string[];
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
  /** Until the response head; default: as the service's policy says. */
  readonly requestTimeoutMs?: number;
  readonly rewrite?: PathRewrite;
  readonly deprecation?: Deprecation;
  readonly requestBody?: BodyChanges;
  readonly responseBody?: BodyChanges;
}

/** How the service gets the path; both "" or of the form "/api/v1". */
export interface PathRewrite {
  /** This beginning of the path is left out. */
  readonly strip: string;
  /** This one is put before what is left. */
  readonly add: string;
}

/** What callers are told of a route's future (RFC 9745, RFC 8594); times in seconds since 1970, null: not said. */
export interface Deprecation {
  readonly at: number | null;
  readonly sunsetAt: number | null;
  /** Where people read what to use instead, or "". */
  readonly link: string;
}

/** Changes of a body that is JSON. Names may lead inside by dots, through all items of lists. */
export interface BodyChanges {
  /** Old name to new name, both within the same object. */
  readonly rename: Readonly<Record<string, string>>;
  readonly remove: readonly string[];
  /** Name to a value in JSON; set over what is there. */
  readonly add: Readonly<Record<string, string>>;
  /** The whole body becomes the value of this name; "": it stays. */
  readonly wrap: string;
  /** Larger bodies are refused. */
  readonly maxBytes: number;
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
  /** How long ago it may have been shown, in milliseconds; 0: however long ago. */
  readonly mfaMaxAgeMs: number;
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

/** Changes of fields; values may say ${caller.name}, ${request.id} and ${client.address}. */
export interface FieldChanges {
  /** Over those of the same name. */
  readonly set: Readonly<Record<string, string>>;
  readonly remove: readonly string[];
  /** Beside those of the same name. */
  readonly add?: Readonly<Record<string, string>>;
  /** Where there are none of that name. */
  readonly absent?: Readonly<Record<string, string>>;
}

/** A known caller, as far as routes ask. */
export interface Caller {
  /** "user:ID", "service:default/payment-svc". */
  readonly name: string;
  readonly roles: readonly string[];
  readonly hasMfa: boolean;
  /** When its person last showed who they are, in milliseconds since 1970; 0: nobody did. */
  readonly authenticatedAtMs: number;
  /** Where it lives, if it lives in one environment only. */
  readonly environment: string;
  /** Whether it has the permission that was asked for. */
  readonly isPermitted: boolean;
  /** Whether what it has shown lets it call services at all. */
  readonly isWithinScopes: boolean;
}

/** Credentials that are somebody's. */
export interface KnownCaller {
  readonly kind: "known";
  readonly caller: Caller;
  /** Stands for the credential; no secret. */
  readonly digest: string;
  /** When it ends, in milliseconds since 1970; infinite: by itself never. */
  readonly endsAtMs: number;
  /** For the engine, "" before: the fields that tell a service of the caller. */
  fields: string;
  /** Until when it may be relied on, in milliseconds since 1970; 0 once it was taken back. */
  until: number;
  /** For the engine, null before: the gate that has let it in last, so that it need not be judged again. */
  passed: object | null;
}

/** What is known of credentials that are this caller's; `digest` stands for them. It may be relied on for as long as they last. */
export function knownCaller(caller: Caller, digest: string, endsAtMs = Number.POSITIVE_INFINITY): KnownCaller {
  return { kind: "known", caller, digest, endsAtMs, fields: "", until: endsAtMs, passed: null };
}

/**
 * What a connection's last request has shown, and whose it was: most clients show the same on a connection again and again, and
 * comparing it costs less than looking it up.
 */
export class CallerMemo {
  /** The value of Authorization, and the token in it. */
  authorization = "";
  token = "";
  permission = "";
  /** Whose it was; null: nobody's. It is asked for its `until` each time. */
  known: KnownCaller | null = null;
}

/** What is known of credentials. */
export type CallerAnswer =
  | KnownCaller
  /** They are nobody's. */
  | { readonly kind: "unknown" }
  /** Too many unknown ones came from there. */
  | { readonly kind: "too-many"; readonly retryAfterS: number }
  /** Nobody can say, or may rely on what was said. */
  | { readonly kind: "unavailable"; readonly message: string };

/** A verified certificate of a client. */
export interface CallerCertificate {
  /** Whom it stands for, by its URI. */
  readonly uri: string;
  readonly fingerprint: string;
  readonly endsAtMs: number;
}

/** What is asked about a caller. */
export interface CallerQuestion {
  /** The token that it shows; "": it shows a certificate. */
  readonly token: string;
  readonly certificate?: CallerCertificate;
  /** The permission that the route demands, or "". */
  readonly permission: string;
  /** Whether the request changes nothing (RFC 9110 §9.2.1). */
  readonly isSafe: boolean;
  readonly address: string;
  /** What the connection's last request has shown; kept by whoever answers. */
  readonly memo?: CallerMemo | undefined;
}

/** Knows callers by what they show; answers at once for those it remembers. */
export interface CallerSource {
  find(question: CallerQuestion): CallerAnswer | Promise<CallerAnswer>;
  /**
   * Calls `changed` with the names of callers that may do less than before, or are gone, when `find` knows of it; without
   * names anybody may. What runs for them is looked up again, and cut if they may not have it any more. Default: nobody's
   * credentials end before they say so.
   */
  follow?(changed: (names?: readonly string[]) => void): void;
}

/**
 * Fields that say to a service who calls, ours and those by which proxies pass on a client's certificate (RFC 9440, Envoy,
 * nginx, HAProxy, Apache): what clients send under these names is dropped.
 */
const PRINCIPAL_FIELDS =
  /^(?:x[-_]hms[-_]principal|client[-_]cert|x[-_](?:forwarded[-_])?(?:tls[-_])?client[-_]cert|x[-_]forwarded[-_]tls|x[-_]ssl[-_]|ssl[-_]client)/i;
const SHORTEST = "x-ssl-".length;

/** Whether a field says who calls. */
export function isPrincipalField(name: string): boolean {
  if (name.length < SHORTEST) return false;
  const first = name.charCodeAt(0) | 32;
  // x, c or s
  return (first === 120 || first === 99 || first === 115) && PRINCIPAL_FIELDS.test(name);
}

/** The fields that say to a service who calls, each with its line end. */
export function principalFields(known: KnownCaller): string {
  if (known.fields === "") known.fields = flat(rendered(known.caller));
  return known.fields;
}

function rendered(caller: Caller): string {
  const roles = caller.roles.map((role) => role.replace(/[%,]/g, encodeURIComponent)).join(",");
  return (
    `x-hms-principal: ${safe(caller.name)}\r\nx-hms-principal-roles: ${safe(roles)}\r\n` +
    `x-hms-principal-mfa: ${caller.hasMfa}\r\n`
  );
}

/** As one piece of memory: a text that was joined stays in its parts, and thousands of callers' are in no processor's cache. */
function flat(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

function safe(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, encodeURIComponent);
}

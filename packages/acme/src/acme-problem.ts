/** What an authority said instead of doing what it was asked, or why it could not be asked (RFC 8555 §6.7). */
export class AcmeProblem extends Error {
  /** "rateLimited", "dns", "unauthorized" …; "unreachable": nobody judged. */
  readonly kind: string;
  /** The authority will not look at it before; milliseconds from now. */
  readonly retryAfterMs: number;
  /** Of its answer; 0: there was none. */
  readonly status: number;

  constructor(kind: string, message: string, { retryAfterMs = 0, status = 0, cause }: ProblemContext = {}) {
    super(message, cause === undefined ? {} : { cause });
    this.name = "AcmeProblem";
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
    this.status = status;
  }
}

/** What is known beside the problem itself. */
interface ProblemContext {
  retryAfterMs?: number;
  status?: number;
  cause?: unknown;
}

/** A problem document (RFC 7807). */
export interface ProblemDocument {
  readonly type?: string;
  readonly detail?: string;
  readonly subproblems?: readonly (ProblemDocument & { identifier?: { value?: string } })[];
}

const PREFIX = "urn:ietf:params:acme:error:";
const LONGEST_DETAIL = 600;

/** Makes a problem of what an authority has said. */
export function problemOf(document: ProblemDocument, context: ProblemContext = {}): AcmeProblem {
  const type = typeof document.type === "string" ? document.type : "";
  const kind = type.startsWith(PREFIX) ? type.slice(PREFIX.length) : type || "unknown";
  const parts = [
    textOf(document),
    ...(document.subproblems ?? []).map((each) => `${each.identifier?.value ?? ""}: ${textOf(each)}`),
  ];
  return new AcmeProblem(kind, parts.filter((part) => part !== "").join("; "), context);
}

/** Control characters of others have no place in a terminal. */
function textOf({ detail, type }: ProblemDocument): string {
  const text = typeof detail === "string" && detail !== "" ? detail : (type ?? "it gave no reason");
  return String(text)
    .replace(/[\p{Cc}\p{Cf}]+/gu, " ")
    .trim()
    .slice(0, LONGEST_DETAIL);
}

const REACH =
  "The authority asks http://NAME/.well-known/acme-challenge/… on port 80: let the name's DNS records lead to this machine, and its port 80 to the gateway.";

const REMEDIES: Record<string, string> = {
  unreachable: "See that this machine reaches the directory (DNS, firewall), or correct directory and ca_file.",
  dns: `Give the name DNS records. ${REACH}`,
  connection: REACH,
  incorrectResponse: `Somebody else answers there. ${REACH}`,
  unauthorized: `Somebody else answers there. ${REACH}`,
  caa: "Allow this authority in the name's CAA record, or take the record away.",
  rateLimited: "Wait; asking more often makes it longer. The limits are in the authority's documentation.",
  rejectedIdentifier: "The authority issues nothing for this name; take it away, or ask another authority.",
  unsupportedIdentifier: "The authority issues nothing for this kind of name; ask another authority.",
  externalAccountRequired: "This authority takes only accounts that were agreed with it before; use another one.",
  invalidContact: "Correct the mail address: hms-sys tls acme --mail …",
  unsupportedContact: "Correct the mail address: hms-sys tls acme --mail …",
  userActionRequired:
    "The authority wants its new terms to be agreed to: read them, then hms-sys tls acme --agree-terms.",
  termsChanged: "Read the terms, then: hms-sys tls acme --agree-terms",
};

/** What to do about a kind of problem. */
export function remedyFor(kind: string): string {
  return REMEDIES[kind] ?? "It is tried again by itself; hms-sys tls acme tries at once.";
}

import { type AuditSink, anonymous, HmsError, type Principal } from "@hms/kernel";

/** What happens at the door: no method of a contract, but recorded as one. */
type Deed =
  | "SignIn"
  | "SecondFactor"
  | "LockOut"
  | "ForgedForm"
  | "SignOut"
  | "SetUp"
  | "SignUp"
  | "ChoosePassword"
  | "ChangePassword"
  | "AllowProgram"
  | "NarrowProgram"
  | "ReplayedToken"
  | "ChangeFactors"
  | "VerifyAddress";

/** What a deed is done to, where it is not the account. */
const RESOURCE_TYPES: Partial<Record<Deed, string>> = {
  SignOut: "sessions",
  ForgedForm: "pages",
  AllowProgram: "clients",
  NarrowProgram: "sessions",
  ReplayedToken: "clients",
};

/** From where somebody came. */
interface TrailSource {
  readonly requestId: string;
  /** The client's address, as the gateway saw it. */
  readonly address: string;
  readonly userAgent: string;
}

/** One deed, and how it came out. */
interface DeedDone {
  readonly deed: Deed;
  /** The account, once it is known. */
  readonly accountId?: string | undefined;
  /** What it was about: the login that was tried, the program that was let in. */
  readonly resource: string;
  /** How it was shown who it is. */
  readonly methods?: readonly string[];
  /** Why it was refused; undefined: it was not. */
  readonly refused?: string;
  /** Undefined: nobody asked just now. */
  readonly source: TrailSource | undefined;
}

/** Records who came in, who left, and who was refused. */
export interface SignInTrail {
  /** @throws HmsError UNAVAILABLE if nothing can be recorded: then nobody comes in. */
  assertAccepts(): void;
  /** A lock-out is recorded once a minute for the same login and address, a forged form once for each address. */
  record(done: DeedDone): void;
}

/** What anybody can bring about as often as they like is recorded once in this time. */
const TOLD_AGAIN_MS = 60_000;
const MOST_TOLD = 10_000;
const LONGEST_USER_AGENT = 300;

/** Makes one that records to the audit log. */
export function createSignInTrail(audit: AuditSink): SignInTrail {
  const told = new Map<string, number>();
  const isToldAlready = ({ deed, resource, source }: DeedDone) => {
    if (deed !== "LockOut" && deed !== "ForgedForm") return false;
    const key = `${deed === "LockOut" ? resource : deed} ${source?.address}`;
    const now = Date.now();
    if (now - (told.get(key) ?? 0) < TOLD_AGAIN_MS) return true;
    if (told.size >= MOST_TOLD) told.clear();
    told.set(key, now);
    return false;
  };
  return {
    assertAccepts() {
      if (audit.accepts) return;
      const message = "The audit spool is full, so nobody can sign in now. Free disk space in the data directory.";
      throw new HmsError("UNAVAILABLE", message, { reason: "AUDIT_SPOOL_FULL" });
    },
    record(done) {
      if (isToldAlready(done)) return;
      const { deed, resource, refused, methods = [], source } = done;
      audit.record({
        time: new Date(),
        principal: principalOf(done),
        method: `hms.identity.v1.SignIn/${deed}`,
        permission: "",
        resource,
        // Who could come in has a session then.
        resourceType: RESOURCE_TYPES[deed] ?? (deed === "SignIn" && refused === undefined ? "sessions" : "users"),
        outcome: refused === undefined ? "OK" : "denied",
        reason: refused ?? (methods.length === 0 ? "" : `by ${methods.join(", ")}`),
        requestId: source?.requestId ?? "",
        ...(source === undefined ? {} : { way: "http", source: seen(source) }),
      });
    },
  };
}

const seen = ({ address, userAgent }: TrailSource) => ({ address, userAgent: userAgent.slice(0, LONGEST_USER_AGENT) });

function principalOf({ accountId, methods = [] }: DeedDone): Principal {
  if (accountId === undefined) return anonymous;
  return { kind: "user", id: accountId, ...(methods.length === 0 ? {} : { methods, mfa: methods.length > 1 }) };
}

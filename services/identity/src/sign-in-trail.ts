import { type AuditSink, anonymous, HmsError, type Principal } from "@hms/kernel";

/** What happens at the door: no method of a contract, but recorded as one. */
type Deed =
  | "SignIn"
  | "SignOut"
  | "SetUp"
  | "ChoosePassword"
  | "ChangePassword"
  | "AllowProgram"
  | "ReplayedToken"
  | "ChangeFactors"
  | "VerifyAddress";

/** One deed, and how it came out. */
interface DeedDone {
  readonly deed: Deed;
  /** The account, once it is known. */
  readonly accountId?: string | undefined;
  /** What it was about: the login that was tried, the program that was let in. */
  readonly resource: string;
  /** By what somebody has shown who they are: "pwd", "otp", …; default: nothing was shown. */
  readonly methods?: readonly string[];
  /** Why it was refused; undefined: it was not. */
  readonly refused?: string;
  readonly requestId: string;
}

/** Records who came in, who left, and who was refused. */
export interface SignInTrail {
  /** @throws HmsError UNAVAILABLE if nothing can be recorded: then nobody comes in. */
  assertAccepts(): void;
  record(done: DeedDone): void;
}

/** Makes one that records to the audit log. */
export function createSignInTrail(audit: AuditSink): SignInTrail {
  return {
    assertAccepts() {
      if (audit.accepts) return;
      const message = "The audit spool is full, so nobody can sign in now. Free disk space in the data directory.";
      throw new HmsError("UNAVAILABLE", message, { reason: "AUDIT_SPOOL_FULL" });
    },
    record({ deed, accountId, resource, methods = [], refused, requestId }) {
      const principal: Principal = accountId === undefined ? anonymous : { kind: "user", id: accountId };
      audit.record({
        time: new Date(),
        principal,
        method: `hms.identity.v1.SignIn/${deed}`,
        permission: "",
        resource,
        outcome: refused === undefined ? "OK" : "denied",
        reason: refused ?? (methods.length === 0 ? "" : `by ${methods.join(", ")}`),
        requestId,
      });
    },
  };
}

import type { MethodEntry } from "./method-entry.ts";
import type { Principal } from "./principal.ts";
import type { StatusCodeName } from "./status-code.ts";

/** What a transport knows of a caller before anybody has judged it. */
export interface Credentials {
  /** How the call came in. */
  readonly transport: "in-process" | "socket" | "network";
  /** A bearer token, if the caller showed one. */
  readonly token?: string | undefined;
}

/** Turns credentials into a principal. */
export interface IdentitySource {
  /**
   * Answers with the principal, `anonymous` if there are no credentials.
   * @throws HmsError UNAUTHENTICATED if the credentials are wrong.
   */
  authenticate(credentials: Credentials): Principal | Promise<Principal>;
}

/** What a policy is asked. */
export interface PolicyQuestion {
  readonly principal: Principal;
  /** resource:verb, from the method's rule. */
  readonly permission: string;
  /** The value of the request's resource field, empty if the method names none. */
  readonly resource: string;
  readonly method: MethodEntry;
}

/** What a policy answers; a denial says why. */
export type PolicyDecision = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };

/** Decides who may call what; an error while deciding is a denial. */
export interface Policy {
  decide(question: PolicyQuestion): PolicyDecision | Promise<PolicyDecision>;
}

/** One fact for the audit log. */
export interface AuditEvent {
  readonly time: Date;
  readonly principal: Principal;
  /** "hms.sys.deployment.v1.DeploymentService/Deploy". */
  readonly method: string;
  readonly permission: string;
  readonly resource: string;
  readonly outcome: "denied" | StatusCodeName;
  /** Why it was denied or failed; empty otherwise. */
  readonly reason: string;
  readonly requestId: string;
  /** The request, where the method's audit level asks for it. */
  readonly request?: unknown;
}

/** Takes audit events; neither authorized nor audited itself. */
export interface AuditSink {
  /** False if nothing more can be kept; calls that change something are then refused. */
  readonly accepts: boolean;
  record(event: AuditEvent): void;
}

/** Sees every finished call: metrics, logs, traces. */
export interface CallObserver {
  /** `durationMs` is wall time; a stream's is its whole life. */
  finished(method: MethodEntry, code: StatusCodeName, durationMs: number): void;
}

/** Checks a request's content against its contract. */
export interface RequestValidator {
  /** @throws HmsError INVALID_ARGUMENT with every violation. */
  validate(method: MethodEntry, request: unknown): void;
}

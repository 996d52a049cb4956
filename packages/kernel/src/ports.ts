import type { DescService } from "@bufbuild/protobuf";
import type { ffiOptions } from "@hms/contracts";
import type { CallContext } from "./call-context.ts";
import type { ChangeSignal } from "./change-signal.ts";
import type { HmsError } from "./hms-error.ts";
import type { MethodEntry } from "./method-entry.ts";
import type { Principal } from "./principal.ts";
import type { StatusCodeName } from "./status-code.ts";

/** What a transport knows of a caller before anybody has judged it. */
export interface Credentials {
  /** How the call came in. */
  readonly transport: "in-process" | "socket" | "network";
  /** A bearer token, if the caller showed one. */
  readonly token?: string | undefined;
  /** A ticket of the registry, if the caller showed one (docs/tickets.md). */
  readonly ticket?: string | undefined;
  /** The SPIFFE id of the caller's certificate, verified by the transport. */
  readonly peer?: string | undefined;
  /** Where a transport wants to know it: called once the caller has been judged to be somebody. */
  readonly known?: (() => void) | undefined;
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
  /** The environment that the request of a platform's method names; undefined: none. */
  readonly environment?: string | undefined;
  /** How the call came in; undefined: from within the process. */
  readonly transport?: Credentials["transport"] | undefined;
}

/** By what something was decided, for the audit log. */
export interface DecisionGround {
  /** The ids of the policies that decided. */
  readonly policies?: readonly string[] | undefined;
  /** Names the policies in force, those that did not decide included: the same text for the same ones. Default: there are none. */
  readonly revision?: string | undefined;
  /** It had been decided before, for this caller or one like it; default: it was decided for this call. */
  readonly cached?: boolean | undefined;
}

/** What a policy answers; a denial says why. */
export type PolicyDecision =
  | (DecisionGround & {
      readonly allowed: true;
      /** What the call leaves in the audit log; default: what its rule says. */
      readonly auditLevel?: ffiOptions.AuditLevel;
    })
  | (DecisionGround & {
      readonly allowed: false;
      readonly reason: string;
      /** The caller would be let in if it showed once more who it is; default: that would not help. */
      readonly stepUp?: StepUp;
    });

/** What a caller has to show to be let in: a second factor. */
export interface StepUp {
  /** How many seconds ago at most; default: however long ago. */
  readonly maxAgeS?: number;
}

/** Who wants to see many things at once. */
export type FilterQuestion = Pick<PolicyQuestion, "principal" | "permission" | "method" | "transport">;

/** One of them. */
export interface ResourceRow {
  readonly name: string;
  /** Undefined or empty: it lives in none. */
  readonly environment?: string | undefined;
  readonly facts?: {
    /** Empty: nobody's. */
    readonly owner?: string | undefined;
    readonly tags?: readonly string[];
    readonly groups?: readonly string[];
  };
}

/** What a thing has to be: `all` of nothing is true, `any` of nothing is false, `untold` what nobody but `allows` can say. */
export type ResourcePredicate =
  | { readonly all: readonly ResourcePredicate[] }
  | { readonly any: readonly ResourcePredicate[] }
  | { readonly not: ResourcePredicate }
  | { readonly field: "name" | "environment" | "owner"; readonly equals: string }
  | { readonly has: "environment" | "owner" }
  | { readonly tag: string }
  | { readonly group: string }
  | { readonly untold: true };

/** Which of many things somebody may see. */
export interface ResourceFilter {
  /** What can be asked of a database about what lives in an environment; it may keep too many, never too few. */
  readonly where: ResourcePredicate;
  /** The same about what lives in none. */
  readonly whereUnplaced: ResourcePredicate;
  /** Decides about one of them; everything that is answered has to pass. */
  allows(row: ResourceRow): boolean;
}

/** Decides who may call what; an error while deciding is a denial. */
export interface Policy {
  decide(question: PolicyQuestion): PolicyDecision | Promise<PolicyDecision>;
  /** Which things a principal may use; a policy without it lets everything through that calls have come through for. */
  filter?(question: FilterQuestion): ResourceFilter;
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
  /** Whose environment it is about; default: none. */
  readonly environment?: string | undefined;
  /** How the call came in, and from where. */
  readonly way?: CallWay;
  readonly source?: CallSource | undefined;
  /** The W3C trace context that it belongs to. */
  readonly traceparent?: string | undefined;
  /** By what it was let in, or was not; default: nobody decided. */
  readonly decision?: DecisionGround | undefined;
  readonly durationMs?: number;
  /** What happened, in one word; default: what the method's name says. */
  readonly code?: string | undefined;
  /** What kind of thing the resource is; default: what the permission is about. */
  readonly resourceType?: string | undefined;
  /** What a sink says of itself: heartbeats, events that it could not keep. */
  readonly details?: object;
}

/** Takes audit events; neither authorized nor audited itself. */
export interface AuditSink {
  /** False if nothing more can be kept; calls that change something are then refused. */
  readonly accepts: boolean;
  record(event: AuditEvent): void;
  /**
   * Resolves when everything recorded so far is kept even if the machine dies, and rejects if it cannot be; undefined:
   * it is. The answer of an audited call waits for it. Default: nothing to wait for.
   */
  kept?(): Promise<void> | undefined;
}

/** From where a call came, as a transport has seen it. */
export interface CallSource {
  /** The SPIFFE id of the caller's certificate, verified. */
  readonly peer?: string | undefined;
  /** The client's address as the platform's own gateway has seen it. */
  readonly address?: string | undefined;
  /** What the client says it is. */
  readonly userAgent?: string | undefined;
}

/** Sees every finished call: metrics, logs, traces. */
export interface CallObserver {
  /** `durationMs` is wall time; a stream's is its whole life. */
  finished(method: MethodEntry, code: StatusCodeName, durationMs: number): void;
  /** Sees every call that failed after it was let in, with the error's cause, which the caller never sees. */
  failed?(context: CallContext, error: HmsError): void;
  /** Sees every call as it ends, with all that is known of it; undefined while nobody looks: it costs nothing then. */
  ended?: ((call: EndedCall) => void) | undefined;
}

/** A call that has ended: answered, failed or denied. */
export interface EndedCall {
  readonly context: CallContext;
  /** As its caller is told. */
  readonly error: HmsError | undefined;
  readonly durationMs: number;
  /** The request, unless the call takes a stream of them. */
  readonly input: unknown;
  readonly auditLevel: ffiOptions.AuditLevel;
}

/** How a call came in. */
export type CallWay = "in-process" | "frames" | "http" | "connect" | "grpc" | "grpc-web";

/** Follows calls with spans. */
export interface CallTracer {
  /** Begins the span of a call; undefined if it is not sampled: then it costs nothing more. */
  begin(context: CallContext): CallTrace | undefined;
  /** Says that a call that is not sampled has failed; `startedAt` is in `performance.now()` milliseconds. */
  failed(context: CallContext, error: HmsError, startedAt: number): void;
}

/** The span of one call. */
export interface CallTrace {
  /** What calls made for this one carry (W3C Trace Context). */
  readonly traceparent: string;
  /** Does a piece of the handler's work with this span as the current one. */
  run<T>(work: () => T): T;
  /** Ends the span; called once. */
  end(error: HmsError | undefined): void;
}

/** A method somebody asks for. */
export interface MethodName {
  /** "hms.cdf.debate.v1.DebateService". */
  readonly service: string;
  /** "CreateDebate". */
  readonly method: string;
  /** Where the service lives; "default" is one like any other. */
  readonly environment: string;
}

/** Methods that are served elsewhere and can be called through this kernel; their handlers carry the call there. */
export interface MethodSource {
  /**
   * The entry of a method, undefined if nobody offers it. What can be called does not change it: an instance that is
   * away is found out by the call.
   * @throws HmsError UNAVAILABLE if nobody can say.
   */
  find(name: MethodName): MethodEntry | undefined | Promise<MethodEntry | undefined>;
  /** The contracts of what can be called in an environment, for routes and reference pages. */
  services(environment: string): Iterable<DescService>;
  /** Wakes up when what `services` answers has changed. */
  readonly changed: ChangeSignal;
}

/** Checks a request's content against its contract. */
export interface RequestValidator {
  /** @throws HmsError INVALID_ARGUMENT with every violation. */
  validate(method: MethodEntry, request: unknown): void;
}

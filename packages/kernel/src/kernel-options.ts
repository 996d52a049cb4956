import type { AnswerMetadataSink, CallContext, Metadata } from "./call-context.ts";
import type {
  AuditSink,
  CallObserver,
  CallSource,
  CallTracer,
  CallWay,
  Credentials,
  IdentitySource,
  MethodSource,
  Policy,
  RequestValidator,
} from "./ports.ts";
import type { Principal } from "./principal.ts";

/** What a kernel decides with. */
export interface KernelOptions {
  identity: IdentitySource;
  policy: Policy;
  audit: AuditSink;
  observer?: CallObserver;
  tracer?: CallTracer;
  validator?: RequestValidator;
  /** What else can be called through this kernel; default: nothing. */
  elsewhere?: MethodSource;
  /** From where a call came that another process of the platform has carried here; default: from that process. */
  originOf?: (metadata: Metadata | undefined) => CallOrigin | undefined;
}

/** How a call came in, and from where. */
export type CallOrigin = Pick<IncomingCall, "way" | "source">;

/** A call as a transport hands it in. */
export interface IncomingCall extends AnswerMetadataSink {
  /** Who asks: credentials to be judged, or a principal that has been. */
  readonly caller: { readonly principal: Principal } | { readonly credentials: Credentials };
  /** Absolute, in `performance.now()` milliseconds. */
  readonly deadlineAt?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly metadata?: Metadata | undefined;
  /** How it came in; default "in-process". */
  readonly way?: CallWay | undefined;
  /** From where, beside what its credentials say; default: not known. */
  readonly source?: CallSource | undefined;
  /** True if its answers may be `EncodedMessage`s; default false. */
  readonly takesEncoded?: boolean | undefined;
  /** Is given the call's context once there is one: a transport can end the call with it and needs no signal per call. */
  attach?(context: CallContext): void;
}

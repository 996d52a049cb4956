import type { DescMessage, DescMethod, DescService, MessageShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import { type AnswerMetadataSink, CallContext, type Metadata } from "./call-context.ts";
import { type CallEnd, finishCall, refuse, refuseUnknown, rejectWhenKept, whenKept } from "./call-outcome.ts";
import { ChangeSignal } from "./change-signal.ts";
import { type Client, createClient } from "./client.ts";
import { guardDeadline, guardStream } from "./deadline.ts";
import { HmsError } from "./hms-error.ts";
import { createInProcessTransport } from "./in-process-transport.ts";
import { environmentOf, type MethodEntry, methodEntry, resourceOf } from "./method-entry.ts";
import type {
  AuditSink,
  CallObserver,
  CallSource,
  CallTrace,
  CallTracer,
  CallWay,
  Credentials,
  IdentitySource,
  MethodName,
  MethodSource,
  Policy,
  PolicyDecision,
  RequestValidator,
} from "./ports.ts";
import { anonymous, type Principal } from "./principal.ts";
import type { ServiceRegistration } from "./service-implementation.ts";

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
  /** Is given the call's context once there is one: a transport can end the call with it and needs no signal per call. */
  attach?(context: CallContext): void;
}

type Handler = (input: unknown, context: CallContext) => unknown;

/**
 * HMS-FFI's kernel: every function of the platform is a method of a contract registered here, and every call, from
 * whatever transport, passes resolve → authenticate → authorize → validate → invoke → translate error.
 */
export class Kernel {
  readonly options: KernelOptions;
  readonly #methods = new Map<string, MethodEntry>();
  readonly #byDesc = new Map<DescMethod, MethodEntry>();
  readonly #changed = new ChangeSignal();
  /** Streams of principals whose session can end before the stream does. */
  readonly #streams = new Set<CallContext>();

  constructor(options: KernelOptions) {
    this.options = options;
  }

  /**
   * Makes a service callable.
   * @throws HmsError ALREADY_EXISTS if it is registered, INTERNAL if a method has no rule.
   */
  register({ service, implementation, ruleOf }: ServiceRegistration): void {
    for (const method of service.methods) {
      const own = (implementation as Record<string, Handler>)[method.localName];
      if (own === undefined) throw new HmsError("INTERNAL", `${service.typeName} does not implement ${method.name}.`);
      const handler = own.bind(implementation) as MethodEntry["handler"];
      const entry = methodEntry(method, handler, ruleOf);
      if (this.#methods.has(entry.name)) throw new HmsError("ALREADY_EXISTS", `${entry.name} is registered already.`);
      this.#methods.set(entry.name, entry);
      this.#byDesc.set(method, entry);
    }
    this.changed.notify();
  }

  /** Finds a method by contract name ("hms.sys.mesh.v1.MeshService") and method name ("SetService"). */
  find(service: string, method: string): MethodEntry | undefined {
    return this.#methods.get(`${service}/${method}`);
  }

  /**
   * Finds a method served here or, failing that, elsewhere; undefined if nobody offers it.
   * @throws HmsError UNAVAILABLE if nobody can say.
   */
  resolve(name: MethodName): MethodEntry | undefined | Promise<MethodEntry | undefined> {
    return this.find(name.service, name.method) ?? this.options.elsewhere?.find(name);
  }

  /** Every method registered here. */
  methods(): Iterable<MethodEntry> {
    return this.#methods.values();
  }

  /** The contracts of what can be called in an environment, here and elsewhere; those served here come first. */
  *services(environment: string): Iterable<DescService> {
    const here = new Set<string>();
    for (const { desc } of this.#methods.values()) {
      if (here.has(desc.parent.typeName)) continue;
      here.add(desc.parent.typeName);
      yield desc.parent;
    }
    for (const service of this.options.elsewhere?.services(environment) ?? []) {
      if (!here.has(service.typeName)) yield service;
    }
  }

  /** Wakes up when `services` answers differently. */
  get changed(): ChangeSignal {
    return this.options.elsewhere?.changed ?? this.#changed;
  }

  /**
   * Finds a method by its descriptor.
   * @throws HmsError UNIMPLEMENTED if it is not registered here.
   */
  entryOf(desc: DescMethod): MethodEntry {
    const entry = this.#byDesc.get(desc);
    if (entry === undefined) {
      throw new HmsError("UNIMPLEMENTED", `${desc.parent.typeName}/${desc.name} is not served here.`);
    }
    return entry;
  }

  /** A client whose calls stay in this process and are made as `principal`, unless a call passes a context on. */
  client<S extends DescService>(service: S, principal: Principal): Client<S> {
    return createClient(service, createInProcessTransport(this, principal));
  }

  /** Answers a unary call; the promise rejects with HmsError only. */
  unary<O extends DescMessage>(entry: MethodEntry, input: unknown, call: IncomingCall): Promise<MessageShape<O>> {
    const started = performance.now();
    const caller = call.caller;
    if ("principal" in caller) {
      return this.#authorizedUnary(entry, input, { call, principal: caller.principal, started }) as Promise<
        MessageShape<O>
      >;
    }
    return this.#authenticate(entry, call, caller.credentials).then((principal) =>
      this.#authorizedUnary(entry, input, { call, principal, started }),
    ) as Promise<MessageShape<O>>;
  }

  async #authenticate(entry: MethodEntry, call: IncomingCall, credentials: Credentials): Promise<Principal> {
    const started = performance.now();
    try {
      return await this.options.identity.authenticate(credentials);
    } catch (error) {
      const { deadlineAt, signal, metadata } = call;
      const own = { deadlineAt, signal, metadata, ...this.#originOf(call) };
      const context = new CallContext({ method: entry, principal: anonymous, ...own });
      const { auditLevel } = entry.rule;
      const end = { options: this.options, context, input: undefined, resource: "", started, auditLevel };
      return rejectWhenKept(end, refuseUnknown(end, HmsError.from(error)));
    }
  }

  /**
   * Refuses a caller from the network whom nobody knows before its request is read: for transports that would have to make
   * room for it. Who shows a certificate, or is let through here, is judged all the same when the call is made.
   * @throws HmsError UNAUTHENTICATED, recorded like any other denial
   */
  async admit(entry: MethodEntry, call: IncomingCall): Promise<void> {
    if ("principal" in call.caller) return;
    const { credentials } = call.caller;
    if (credentials.transport !== "network" || credentials.peer !== undefined) return;
    const started = performance.now();
    const principal = await this.#authenticate(entry, call, credentials);
    if (principal.kind !== "anonymous") return;
    const decision = await this.#decide(entry, undefined, { resource: "", principal, caller: call.caller });
    if (decision.allowed) return;
    const { deadlineAt, metadata } = call;
    const context = new CallContext({ method: entry, principal, deadlineAt, metadata, ...this.#originOf(call) });
    const { auditLevel } = entry.rule;
    throw refuse(
      { options: this.options, context, input: undefined, resource: "", started, auditLevel },
      decision.reason,
    );
  }

  #authorizedUnary(entry: MethodEntry, input: unknown, arrival: Arrival): Promise<unknown> {
    let decision: PolicyDecision | Promise<PolicyDecision>;
    const resource = resourceOf(entry.rule, input);
    try {
      decision = this.#decide(entry, input, { resource, principal: arrival.principal, caller: arrival.call.caller });
    } catch (error) {
      return Promise.reject(HmsError.from(error));
    }
    if (decision instanceof Promise) {
      return decision.then((settled) => this.#invokeUnary(entry, input, { ...arrival, resource, decision: settled }));
    }
    return this.#invokeUnary(entry, input, { ...arrival, resource, decision });
  }

  #decide(method: MethodEntry, input: unknown, { resource, principal, caller }: Asked): ReturnType<Policy["decide"]> {
    const { rule } = method;
    const transport = "credentials" in caller ? caller.credentials.transport : undefined;
    const environment = input === undefined ? undefined : environmentOf(method, input);
    return this.options.policy.decide({
      principal,
      permission: rule.permission,
      resource,
      method,
      environment,
      transport,
    });
  }

  #invokeUnary(entry: MethodEntry, input: unknown, arrival: JudgedArrival): Promise<unknown> {
    const context = new CallContext({
      method: entry,
      principal: arrival.principal,
      deadlineAt: arrival.call.deadlineAt,
      signal: arrival.call.signal,
      metadata: arrival.call.metadata,
      attached: arrival.call.attach !== undefined,
      ...this.#originOf(arrival.call),
      answerMetadata: arrival.call,
    });
    arrival.call.attach?.(context);
    const { resource, started, decision } = arrival;
    const audited = { auditLevel: auditLevelOf(entry, decision), policies: decision.policies };
    const end: CallEnd = { options: this.options, context, input, resource, started, ...audited };
    if (!decision.allowed) return rejectWhenKept(end, refuse(end, decision.reason));
    try {
      this.#admit(end);
      const trace = this.#begin(context);
      const handle = () => (entry.handler as Handler)(input, context);
      const answer = trace === undefined ? handle() : trace.run(handle);
      const settled = answer instanceof Promise ? answer : Promise.resolve(answer);
      return guardDeadline(context, settled).then(
        (output) => {
          finishCall(end, undefined);
          const kept = whenKept(end);
          const answer = complete(entry.desc.output, output);
          return kept === undefined ? answer : kept.then(() => answer);
        },
        (error) => rejectEnded(end, error),
      );
    } catch (error) {
      return rejectEnded(end, error);
    }
  }

  async *#validEach(entry: MethodEntry, inputs: AsyncIterable<unknown>): AsyncGenerator<unknown> {
    const { validator } = this.options;
    for await (const input of inputs) {
      validator?.validate(entry, input);
      yield input;
    }
  }

  #originOf(call: IncomingCall): CallOrigin {
    return this.options.originOf?.(call.metadata) ?? { way: call.way, source: sourceOf(call) };
  }

  #begin(context: CallContext): CallTrace | undefined {
    context.trace = this.options.tracer?.begin(context);
    return context.trace;
  }

  #admit({ context, input, auditLevel }: CallEnd): void {
    context.throwIfEnded();
    const { method } = context;
    if (method.mutates && auditLevel !== ffiOptions.AuditLevel.NONE && !this.options.audit.accepts) {
      throw new HmsError(
        "UNAVAILABLE",
        "The audit spool is full, so nothing may change; reads go on. Free disk space in the data directory, and see with hms-sys doctor why it is not emptied.",
        { reason: "AUDIT_SPOOL_FULL" },
      );
    }
    // The messages of a stream are checked as they come.
    if (input !== undefined) this.options.validator?.validate(method, input);
  }

  /**
   * Ends the running streams of a principal that may do less than when they began, or has no session any more; who still
   * may calls again.
   */
  endStreamsOf(kind: Principal["kind"], id: string): void {
    const message = "What you may do here has changed. Call again; sign in again if that is refused.";
    const error = new HmsError("UNAUTHENTICATED", message, { reason: "ACCESS_CHANGED" });
    for (const context of this.#streams) {
      if (context.principal.kind === kind && context.principal.id === id) context.end(error);
    }
  }

  /** Answers a streaming call of any kind; leaving the iteration cancels it, and only HmsError comes out of it. */
  async *stream<O extends DescMessage>(
    entry: MethodEntry,
    inputs: AsyncIterable<unknown>,
    call: IncomingCall,
  ): AsyncGenerator<MessageShape<O>> {
    const started = performance.now();
    const principal =
      "principal" in call.caller
        ? call.caller.principal
        : await this.#authenticate(entry, call, call.caller.credentials);
    const kind = entry.desc.methodKind;
    const single = kind === "server_streaming" ? await firstOf(inputs) : undefined;
    const resource = single === undefined ? "" : resourceOf(entry.rule, single);
    const decision = await this.#decide(entry, single, { resource, principal, caller: call.caller });
    const { deadlineAt, signal, metadata } = call;
    const attached = call.attach !== undefined;
    const own = { deadlineAt, signal, metadata, attached, ...this.#originOf(call), answerMetadata: call };
    const context = new CallContext({ method: entry, principal, ...own });
    call.attach?.(context);
    const auditLevel = auditLevelOf(entry, decision);
    const { policies } = decision;
    const end: CallEnd = { options: this.options, context, input: single, resource, started, auditLevel, policies };
    if (!decision.allowed) return rejectWhenKept(end, refuse(end, decision.reason));
    let failure: HmsError | undefined = new HmsError("CANCELLED", "The caller left the stream.");
    const mayEnd = principal.endsAtMs !== undefined;
    if (mayEnd) this.#streams.add(context);
    try {
      this.#admit(end);
      const trace = this.#begin(context);
      const handle = () => (entry.handler as Handler)(single ?? this.#validEach(entry, inputs), context);
      const output = trace === undefined ? handle() : trace.run(handle);
      if (kind === "client_streaming") {
        yield complete(entry.desc.output, await guardDeadline(context, Promise.resolve(output))) as MessageShape<O>;
      } else {
        for await (const message of guardStream(context, within(trace, output as AsyncIterable<unknown>))) {
          yield complete(entry.desc.output, message) as MessageShape<O>;
        }
      }
      failure = undefined;
    } catch (error) {
      failure = HmsError.from(error);
      throw failure;
    } finally {
      if (mayEnd) this.#streams.delete(context);
      if (failure) context.end(failure);
      finishCall(end, failure);
      await whenKept(end);
    }
  }
}

interface Asked {
  resource: string;
  principal: Principal;
  caller: IncomingCall["caller"];
}

interface Arrival {
  call: IncomingCall;
  principal: Principal;
  started: number;
}

interface JudgedArrival extends Arrival {
  resource: string;
  decision: PolicyDecision;
}

function auditLevelOf({ rule }: MethodEntry, decision: PolicyDecision): ffiOptions.AuditLevel {
  return (decision.allowed ? decision.auditLevel : undefined) ?? rule.auditLevel;
}

/** A call's error, once it is recorded that and how the call ended. */
function rejectEnded(end: CallEnd, error: unknown): Promise<never> {
  const failure = finishCall(end, HmsError.from(error));
  return end.auditLevel === ffiOptions.AuditLevel.NONE ? Promise.reject(failure) : rejectWhenKept(end, failure);
}

/** What a transport says of where a call came from, and the certificate that was shown. */
function sourceOf({ caller, source }: IncomingCall): CallSource | undefined {
  const peer = "credentials" in caller ? caller.credentials.peer : undefined;
  return peer === undefined ? source : { ...source, peer };
}

/** A handler's messages, each of them made with its span as the current one. */
function within<T>(trace: CallTrace | undefined, messages: AsyncIterable<T>): AsyncIterable<T> {
  if (trace === undefined) return messages;
  return {
    [Symbol.asyncIterator]() {
      const inner = messages[Symbol.asyncIterator]();
      return {
        next: () => trace.run(() => inner.next()),
        return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
      };
    },
  };
}

/** Handlers may answer with a part of a message; callers always get a whole one. */
function complete(desc: DescMessage, output: unknown): unknown {
  return output !== null && typeof output === "object" && "$typeName" in output
    ? output
    : create(desc, output as never);
}

async function firstOf(inputs: AsyncIterable<unknown>): Promise<unknown> {
  for await (const input of inputs) return input;
  throw new HmsError("INVALID_ARGUMENT", "The call ended before its request arrived.");
}

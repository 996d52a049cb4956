import type { DescMessage, DescMethod, DescService, MessageShape } from "@bufbuild/protobuf";
import type { Handler } from "./admission.ts";
import { noteUnreadable, refuseStrangers } from "./caller-judgement.ts";
import { ChangeSignal } from "./change-signal.ts";
import { type Client, createClient } from "./client.ts";
import { HmsError } from "./hms-error.ts";
import { createInProcessTransport } from "./in-process-transport.ts";
import type { IncomingCall, KernelOptions } from "./kernel-options.ts";
import { type MethodEntry, methodEntry } from "./method-entry.ts";
import type { MethodName } from "./ports.ts";
import type { Principal } from "./principal.ts";
import { RunningStreams } from "./running-streams.ts";
import type { ServiceRegistration } from "./service-implementation.ts";
import { answerStream } from "./stream-call.ts";
import { answerUnary } from "./unary-call.ts";

/**
 * HMS-FFI's kernel: every function of the platform is a method of a contract registered here, and every call, from
 * whatever transport, passes resolve → authenticate → authorize → validate → invoke → translate error.
 */
export class Kernel {
  readonly options: KernelOptions;
  readonly #methods = new Map<string, MethodEntry>();
  readonly #byDesc = new Map<DescMethod, MethodEntry>();
  readonly #changed = new ChangeSignal();
  readonly #streams = new RunningStreams();

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
    const arrival = { options: this.options, entry, call, started: performance.now() };
    return answerUnary(arrival, input) as Promise<MessageShape<O>>;
  }

  /** Answers a streaming call of any kind; leaving the iteration cancels it, and only HmsError comes out of it. */
  stream<O extends DescMessage>(
    entry: MethodEntry,
    inputs: AsyncIterable<unknown>,
    call: IncomingCall,
  ): AsyncGenerator<MessageShape<O>> {
    return answerStream({ options: this.options, entry, call }, inputs, this.#streams) as AsyncGenerator<
      MessageShape<O>
    >;
  }

  /**
   * Refuses a caller from the network whom nobody knows before its request is read: for transports that would have to make
   * room for it. Who shows a certificate, or is let through here, is judged all the same when the call is made.
   * @throws HmsError UNAUTHENTICATED, recorded like any other denial
   */
  admit(entry: MethodEntry, call: IncomingCall): Promise<void> {
    return refuseStrangers({ options: this.options, entry, call, started: performance.now() });
  }

  /**
   * Records that a request could not be read: for transports that refuse it before there is a message to call with. What
   * nobody known has sent leaves no record, and one caller cannot fill the audit log.
   * @throws HmsError UNAUTHENTICATED, recorded like any other denial, for credentials that nobody has
   */
  noteUnreadable(entry: MethodEntry, call: IncomingCall, error: HmsError): Promise<void> {
    return noteUnreadable({ options: this.options, entry, call, started: performance.now() }, error);
  }

  /**
   * Ends the running streams of all principals that `isOver` names, with UNAUTHENTICATED and the reason ACCESS_CHANGED: they
   * may do less than when they began, or have no session any more. It is asked about each stream, also about those that
   * just begin. Who still may calls again.
   */
  endStreams(isOver: (principal: Principal) => boolean): void {
    const message = "What you may do here has changed. Call again; sign in again if that is refused.";
    this.#streams.end(isOver, new HmsError("UNAUTHENTICATED", message, { reason: "ACCESS_CHANGED" }));
  }
}

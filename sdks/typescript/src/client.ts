import type { DescMethod } from "@bufbuild/protobuf";
import type { registry } from "@hms/contracts";
import { isUntyped, readContract } from "@hms/descriptors";
import { type KnownMethod, type MethodStreams, ServiceMethods, UntypedContracts } from "@hms/direct-calls";
import { keyOfContract, packageOf, type ServiceKey } from "@hms/directory";
import { type CallContext, HmsError, type CallOptions as KernelCallOptions, type Transport } from "@hms/kernel";
import { AnswerStream } from "./answer-stream.ts";
import { AnswerValue, answerReader } from "./answer-value.ts";
import { type AsyncCall, type AsyncCallOptions, resumeOperation, startOperation } from "./async-call.ts";
import { mapped, messagesOf, onlyAnswer } from "./call-streams.ts";
import { type Connection, openFixedConnection, shareConnection } from "./connection.ts";
import { FfiError } from "./errors.ts";
import { type InterceptedCall, type Interceptor, intercept } from "./interceptor.ts";
import { sentValue } from "./message-value.ts";
import { plainValue } from "./plain-value.ts";
import { type ConnectOptions, resolveSettings } from "./settings.ts";

/** How one call is made. */
export interface CallOptions {
  /** Default: none, or what is left of `context`. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Names are lower case. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Lets the callee know a call that is made again; at most 128 visible characters. */
  readonly idempotencyKey?: string | undefined;
  /** The call being answered: its deadline, cancellation, request id and trace are passed on. */
  readonly context?: CallContext | undefined;
  /** Hears what the handler says beside its answers (`call.sendMetadata`), as it arrives. */
  readonly onMetadata?: ((metadata: Readonly<Record<string, string>>) => void) | undefined;
}

/** How a client is set up. */
export interface ClientOptions extends ConnectOptions {
  /** Default "v1". */
  readonly version?: string;
  readonly interceptors?: readonly Interceptor[];
  /** Goes with every call; a call's own wins. Names are lower case. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** How long a call may take that says nothing itself; default: as long as it takes, or what is left of its `context`. */
  readonly timeoutMs?: number;
  /** Calls the service at this address and asks no registry: for tests, and for services that are not registered. */
  readonly address?: string;
  /** The contract, as a FileDescriptorSet; default: the registry's, with `address` none: any JSON object. */
  readonly contract?: Uint8Array;
  /** How calls that outlive their caller, and with `address` all, are encoded; default protobuf, JSON without a contract. */
  readonly codec?: "protobuf" | "json";
  /** With `address`: goes with every call; default: none. */
  readonly ticket?: string;
}

const SERVICE_ID = /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*$/;
const untyped = new UntypedContracts();
/** Stands for the digest of a contract that was given and does not follow the registry. */
const GIVEN = "given";

/** Calls one service, wherever and in whatever language it runs; checks what it sends against the service's contract. */
export class Client implements AsyncDisposable {
  readonly serviceId: string;
  readonly version: string;
  readonly #key: ServiceKey;
  readonly #codec: "protobuf" | "json";
  readonly #interceptors: readonly Interceptor[];
  readonly #defaults: Pick<ClientOptions, "metadata"> & { timeoutMs: number | undefined };
  readonly #connection: Connection;
  readonly #release: () => Promise<void>;
  readonly #transport: Transport;
  readonly #jsonTransport: Transport;
  #methods: ServiceMethods | undefined;

  /** @throws FfiError INVALID_ARGUMENT if the id or a setting is wrong, FAILED_PRECONDITION if no registry is set */
  constructor(serviceId: string, options: ClientOptions = {}) {
    const { version = "v1", interceptors = [], codec = "protobuf", metadata = {}, timeoutMs } = options;
    this.#defaults = { metadata, timeoutMs };
    this.#codec = codec;
    this.serviceId = checkedId(serviceId);
    this.version = version;
    this.#interceptors = interceptors;
    const { connection, release } = orFfiError(() => connectionFor(options));
    this.#connection = connection;
    this.#release = release;
    this.#key = { environment: connection.settings.environment, serviceId, version };
    this.#transport = connection.calls.transport(this.#key);
    this.#jsonTransport = connection.jsonCalls.transport(this.#key);
    if (options.contract) this.#methods = orFfiError(() => this.#given(options.contract as Uint8Array));
  }

  /**
   * Calls a method that gives one answer; a method that takes a stream gets an AsyncIterable of objects.
   * @throws FfiError of the call; UNIMPLEMENTED with the nearest name if there is no such method
   */
  async call<T = unknown>(name: string, request: object = {}, options: CallOptions = {}): Promise<T> {
    try {
      const found = this.#method(name, options, { client: isStream(request) });
      const method = found instanceof Promise ? await found : found;
      const kind = method.desc.methodKind;
      if (kind !== "unary" && kind !== "client_streaming") throw wrongWay(method.desc, "stream");
      const call = this.#outgoing(method, request, options);
      if (kind !== "unary" || this.#interceptors.length > 0)
        return (await this.#intercepted(method, call, options)) as T;
      return plainAnswer(method, await this.#sendOne(method, call, options)) as T;
    } catch (error) {
      throw FfiError.of(error);
    }
  }

  /**
   * Calls a method that answers with a stream; one that takes a stream too gets an AsyncIterable of objects. Nothing is
   * sent before the iteration begins, and leaving it cancels the call.
   */
  stream<T = unknown>(name: string, request: object = {}, options: CallOptions = {}): AnswerStream<T> {
    return new AnswerStream((signal) => this.#stream<T>(name, request, { ...options, signal }), options.signal);
  }

  async *#stream<T>(name: string, request: object, options: CallOptions): AsyncGenerator<T> {
    const method = await this.#method(name, options, { client: isStream(request), server: true });
    const kind = method.desc.methodKind;
    if (kind !== "server_streaming" && kind !== "bidi_streaming") throw wrongWay(method.desc, "call");
    yield* (await this.#intercepted(method, this.#outgoing(method, request, options), options)) as AsyncIterable<T>;
  }

  /**
   * Starts a call that outlives this program and answers with a handle on it at once.
   * @throws FfiError of the start
   */
  async callAsync<T = unknown>(
    name: string,
    request: object = {},
    options: AsyncCallOptions = {},
  ): Promise<AsyncCall<T>> {
    try {
      const method = await this.#method(name, {}, {});
      if (method.desc.methodKind !== "unary") throw wrongWay(method.desc, "stream");
      return await startOperation<T>(this.#connection, {
        method,
        request,
        environment: this.#key.environment,
        options,
        codec: this.#codec,
      });
    } catch (error) {
      throw FfiError.of(error);
    }
  }

  /**
   * A call that was started before, perhaps by another program, by the id of its handle; its method is needed to read the
   * answer. @throws FfiError NOT_FOUND if it is forgotten or another's
   */
  async resume<T = unknown>(name: string, id: string): Promise<AsyncCall<T>> {
    try {
      return await resumeOperation<T>(this.#connection, await this.#method(name, {}, {}), id);
    } catch (error) {
      throw FfiError.of(error);
    }
  }

  #given(bytes: Uint8Array): ServiceMethods {
    const reading = readContract(bytes, packageOf(this.#key));
    if ("problem" in reading) throw new HmsError("INVALID_ARGUMENT", `The contract ${reading.problem}`);
    return new ServiceMethods({ digest: GIVEN, ...reading.contract }, `${this.serviceId} ${this.version}`);
  }

  /** A method of the service's contract as it is now, at once if both are known. */
  #method(name: string, { signal }: CallOptions, streams: MethodStreams): KnownMethod | Promise<KnownMethod> {
    signal?.throwIfAborted();
    if (this.#methods?.digest === GIVEN) return this.#methods.find(name);
    const asked = this.#connection.directory.lookup(this.#key);
    if (asked instanceof Promise) return asked.then(({ entry }) => this.#methodOf(entry, name, streams));
    return this.#methodOf(asked.entry, name, streams);
  }

  #methodOf(entry: registry.ServiceEntry, name: string, streams: MethodStreams): KnownMethod | Promise<KnownMethod> {
    if (!entry.hasContract) return this.#untypedMethod(name, streams);
    if (this.#methods?.digest === entry.contractDigest) return this.#methods.find(name);
    return this.#methodOfNewContract(entry, name, streams);
  }

  async #methodOfNewContract(entry: registry.ServiceEntry, name: string, streams: MethodStreams): Promise<KnownMethod> {
    const contract = await this.#connection.directory.contract(entry);
    if (contract) this.#methods = new ServiceMethods(contract, `${this.serviceId} ${this.version}`);
    return this.#methods === undefined ? this.#untypedMethod(name, streams) : this.#methods.find(name);
  }

  /** Nobody says what kind of method it is, so the way it is called decides. */
  #untypedMethod(name: string, streams: MethodStreams): KnownMethod {
    const pascal = name.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const contract = untyped.contract(this.#key, pascal, streams);
    if (contract) return new ServiceMethods(contract, this.serviceId).find(pascal);
    throw new HmsError("INVALID_ARGUMENT", `"${name}" is no method name; write it in PascalCase, "GetPatient".`);
  }

  #outgoing({ desc }: KnownMethod, request: object, options: CallOptions): InterceptedCall {
    return {
      service: desc.parent.typeName,
      method: desc.name,
      request,
      metadata: metadataOf(this.#defaults.metadata, options),
      // A stream may last for ever.
      timeoutMs: options.timeoutMs ?? (desc.methodKind === "unary" ? this.#defaults.timeoutMs : undefined),
    };
  }

  #intercepted(method: KnownMethod, call: InterceptedCall, options: CallOptions): unknown {
    if (this.#interceptors.length === 0) return this.#send(method, call, options);
    return intercept(this.#interceptors, call, async (last) => this.#send(method, last, options));
  }

  #send(method: KnownMethod, call: InterceptedCall, options: CallOptions): unknown {
    const { desc } = method;
    const read = (answer: unknown) => plainAnswer(method, answer);
    if (desc.methodKind === "unary") return this.#sendOne(method, call, options).then(read);
    const messages = messagesOf(method, call.request);
    const kernelOptions = kernelOptionsOf(method, call, options);
    const answers = this.#transportFor(desc).stream(desc as never, messages as never, kernelOptions);
    return desc.methodKind === "client_streaming" ? onlyAnswer(answers, read) : mapped(answers, read);
  }

  #sendOne(method: KnownMethod, call: InterceptedCall, options: CallOptions): Promise<unknown> {
    const { desc, types } = method;
    const message = sentValue(desc.input, call.request, types);
    return this.#transportFor(desc).unary(desc as never, message as never, kernelOptionsOf(method, call, options));
  }

  #transportFor(desc: DescMethod): Transport {
    return isUntyped(desc) ? this.#jsonTransport : this.#transport;
  }

  /** Ends this client's share of the connection; with the last one running calls are cancelled. */
  close(): Promise<void> {
    return this.#release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function kernelOptionsOf({ types }: KnownMethod, call: InterceptedCall, options: CallOptions): KernelCallOptions {
  const { signal, context, onMetadata } = options;
  const metadata = isEmpty(call.metadata) ? undefined : call.metadata;
  return { timeoutMs: call.timeoutMs, signal, context, metadata, onMetadata, readAnswer: answerReader(types) };
}

/** An answer as a value of the language, whatever a transport has made of it. */
function plainAnswer({ desc, types }: KnownMethod, answer: unknown): unknown {
  return answer instanceof AnswerValue ? answer.value : plainValue(desc.output, answer, types);
}

function connectionFor(options: ClientOptions): ReturnType<typeof shareConnection> {
  const { address, contract, ticket, token, tls } = options;
  if (address === undefined) return shareConnection(resolveSettings(options));
  const codec = options.codec ?? (contract ? "protobuf" : "json");
  const connection = openFixedConnection({ address, contract, ticket, token, codec, tls });
  return { connection, release: async () => connection[Symbol.asyncDispose]() };
}

function isEmpty(metadata: object): boolean {
  for (const _ in metadata) return false;
  return true;
}

function isStream(request: unknown): boolean {
  return typeof request === "object" && request !== null && (Symbol.asyncIterator in request || Array.isArray(request));
}

/** Visible characters of ASCII. */
const IDEMPOTENCY_KEY = /^[ -~]{1,128}$/;

function metadataOf(fixed: ClientOptions["metadata"], { metadata, idempotencyKey }: CallOptions) {
  if (idempotencyKey === undefined) return { ...fixed, ...metadata };
  if (IDEMPOTENCY_KEY.test(idempotencyKey)) return { ...fixed, ...metadata, "x-hms-idempotency-key": idempotencyKey };
  const shown = JSON.stringify(idempotencyKey.slice(0, 200));
  throw new HmsError(
    "INVALID_ARGUMENT",
    `An idempotency key has 1 to 128 visible characters of ASCII, not ${shown}. Shorten or encode it.`,
  );
}

function orFfiError<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw FfiError.of(error);
  }
}

function checkedId(serviceId: string): string {
  if (SERVICE_ID.test(serviceId)) return serviceId;
  const { serviceId: own, version } = keyOfContract(`${serviceId}.X`, "");
  const hint =
    SERVICE_ID.test(own) && own !== serviceId
      ? `write "${own}" and give {version: "${version}"}`
      : 'write the package of its contract without the version, "hms.cdf.debate"';
  throw FfiError.of(new HmsError("INVALID_ARGUMENT", `"${serviceId}" is no service id: ${hint}.`));
}

function wrongWay(desc: DescMethod, right: "call" | "stream"): HmsError {
  const answers = right === "stream" ? "answers with a stream" : "gives one answer";
  return new HmsError("INVALID_ARGUMENT", `${desc.name} ${answers}: use client.${right}("${desc.name}", …).`);
}

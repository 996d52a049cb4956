import { create, type DescMethod, type DescService, type FileRegistry } from "@bufbuild/protobuf";
import { ffiOptions, registry } from "@hms/contracts";
import { descriptorSetOf, readContract, ruleOf } from "@hms/descriptors";
import type { MessageTypes } from "@hms/direct-calls";
import { keyOfContract } from "@hms/directory";
import { type CallContext, HmsError, type MethodHandler, type ServiceRegistration } from "@hms/kernel";
import { nearestName } from "@hms/manifest";
import type { CallLimits } from "./call-limits.ts";
import { FfiError } from "./errors.ts";
import { type InterceptedCall, type Interceptor, intercept } from "./interceptor.ts";
import { messageValue, sentValue } from "./message-value.ts";
import { plainValue } from "./plain-value.ts";

/**
 * What a method does: gets the request as an object, or an AsyncIterable of objects, and what is known of the call; gives
 * the answer as an object, or as an AsyncIterable of objects.
 */
export type Handler = (request: never, call: CallContext) => unknown;

/** A method described without a contract. */
export interface MethodDefinition {
  readonly handler: Handler;
  readonly description?: string;
  /** JSON Schema (2020-12) of the request; default: any object. */
  readonly input?: object;
  /** JSON Schema of the answer; default: any object. */
  readonly output?: object;
  /** Which sides send more than one message; default "none", "server" for async generator functions. */
  readonly streaming?: "none" | "client" | "server" | "both";
  /** What happens when a call is made twice; default: a second effect. */
  readonly idempotency?: "no_side_effects" | "idempotent" | "none";
}

/** The methods of a service by name, in PascalCase or camelCase; "OtherService/Get" where a contract has several. */
export type Methods = Readonly<Record<string, Handler | MethodDefinition>>;

/** A contract: generated, or as a serialized FileDescriptorSet. */
export type ContractSource = DescService | Uint8Array;

const pascal = (name: string) => name.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());

function definitionOf(method: Handler | MethodDefinition): MethodDefinition {
  return typeof method === "function" ? { handler: method } : method;
}

/** What the registry is told of methods that have no contract. */
export function methodSchemas(methods: Methods): registry.MethodSchema[] {
  return Object.entries(methods).map(([name, method]) => {
    const { handler, description = "", input, output, streaming, idempotency = "none" } = definitionOf(method);
    const streams = streaming ?? (handler.constructor.name === "AsyncGeneratorFunction" ? "server" : "none");
    const { NO_SIDE_EFFECTS, IDEMPOTENT, NONE } = ffiOptions.Idempotency;
    return create(registry.MethodSchemaSchema, {
      name: pascal(name),
      description,
      inputSchema: input ? JSON.stringify(input) : "",
      outputSchema: output ? JSON.stringify(output) : "",
      clientStreaming: streams === "client" || streams === "both",
      serverStreaming: streams === "server" || streams === "both",
      idempotency: { no_side_effects: NO_SIDE_EFFECTS, idempotent: IDEMPOTENT, none: NONE }[idempotency],
    });
  });
}

/** A contract as the registry takes it. */
export function serializedContract(source: ContractSource): Uint8Array {
  return source instanceof Uint8Array ? source : descriptorSetOf([source.file]);
}

/** The services of a contract and what their messages may hold. */
export interface LoadedContract {
  readonly services: readonly DescService[];
  readonly types: MessageTypes;
}

/** Reads a contract. @throws HmsError INVALID_ARGUMENT if it is not one of this service version */
export function loadContract(bytes: Uint8Array, packageName: string): LoadedContract {
  const reading = readContract(bytes, packageName);
  if ("problem" in reading) throw new HmsError("INVALID_ARGUMENT", `The contract ${reading.problem}`);
  const files: FileRegistry = reading.contract.files;
  return { services: reading.contract.services, types: files };
}

/**
 * The services of a contract with handlers, ready for a kernel.
 * @throws HmsError INVALID_ARGUMENT if a method has no handler or a handler no method, each with its name
 */
export function registrationsOf(
  { services, types }: LoadedContract,
  methods: Methods,
  around: { readonly interceptors: readonly Interceptor[]; readonly limits: CallLimits },
): ServiceRegistration[] {
  const handlers = new Map(
    Object.entries(methods).map(([name, method]) => [pascal(name), definitionOf(method).handler]),
  );
  const all = services.flatMap((service) => service.methods);
  complainOfDifferences(all, handlers);
  return services.map((service) => {
    const entries = service.methods.map((desc) => {
      const handler = handlerOf(desc, handlers) as Handler;
      return [desc.localName, adapted({ desc, types, handler, ...around })];
    });
    return { service, implementation: Object.fromEntries(entries), ruleOf } as ServiceRegistration;
  });
}

/** By "DebateService/CreateDebate" where several services of a contract have a method of that name, else by the name. */
function handlerOf(desc: DescMethod, handlers: ReadonlyMap<string, Handler>): Handler | undefined {
  return handlers.get(`${desc.parent.name}/${desc.name}`) ?? handlers.get(desc.name);
}

function complainOfDifferences(all: readonly DescMethod[], handlers: ReadonlyMap<string, Handler>): void {
  const names = new Set(all.flatMap(({ name, parent }) => [name, `${parent.name}/${name}`]));
  const missing = all.filter((desc) => handlerOf(desc, handlers) === undefined).map(({ name }) => name);
  const unknown = [...handlers.keys()].filter((name) => !names.has(name));
  const problems = [
    ...missing.map((name) => `The contract's method ${name} has no handler.`),
    ...unknown.map((name) => {
      const near = nearestName(name, missing);
      return near
        ? `${name} is no method of the contract; did you mean ${near}?`
        : `${name} is no method of the contract.`;
    }),
  ];
  if (problems.length > 0) throw new HmsError("INVALID_ARGUMENT", problems.join(" "));
}

interface Adapting {
  readonly desc: DescMethod;
  readonly types: MessageTypes;
  readonly handler: Handler;
  readonly interceptors: readonly Interceptor[];
  readonly limits: CallLimits;
}

/** A handler of the language's values as one of messages. */
function adapted(adapting: Adapting): MethodHandler<DescMethod> {
  const { desc, types } = adapting;
  const takesStream = desc.methodKind === "client_streaming" || desc.methodKind === "bidi_streaming";
  const read = (message: unknown) => plainValue(desc.input, message, types);
  const readEach = async function* (messages: AsyncIterable<unknown>) {
    for await (const message of messages) yield read(message);
  };
  const run = (input: unknown, context: CallContext) =>
    answered(adapting, takesStream ? readEach(input as AsyncIterable<unknown>) : read(input), context);
  const givesStream = desc.methodKind === "server_streaming" || desc.methodKind === "bidi_streaming";
  const handler = givesStream
    ? (input: unknown, context: CallContext) => streamed(adapting, () => run(input, context), context)
    : single(adapting, run);
  return handler as MethodHandler<DescMethod>;
}

/** A handler that gives one answer, at once if it has it and nothing limits the service's calls. */
function single(adapting: Adapting, run: (input: unknown, context: CallContext) => unknown) {
  if (adapting.limits.areNone) {
    return (input: unknown, context: CallContext) => {
      const answer = run(input, context);
      return isThenable(answer)
        ? answer.then((settled) => written(adapting, settled, context))
        : written(adapting, answer, context);
    };
  }
  return async (input: unknown, context: CallContext) => {
    using call = adapting.limits.begin(context);
    return written(adapting, await call.inTime(run(input, context)), context);
  };
}

function isThenable(answer: unknown): answer is Promise<unknown> {
  return answer instanceof Promise || typeof (answer as Promise<unknown> | undefined)?.then === "function";
}

function answered({ desc, handler, interceptors }: Adapting, request: unknown, context: CallContext): unknown {
  if (interceptors.length === 0) return handler(request as never, context);
  const call: InterceptedCall = {
    service: desc.parent.typeName,
    method: desc.name,
    request,
    metadata: context.metadata,
    timeoutMs: context.remainingMs,
  };
  return intercept(interceptors, call, async (last) => handler(last.request as never, context));
}

async function* streamed(adapting: Adapting, begin: () => unknown, context: CallContext): AsyncGenerator<object> {
  using call = adapting.limits.begin(context);
  const answers = iteratorOf(await call.inTime(begin()), adapting.desc);
  try {
    for (let next = await call.inTime(answers.next()); !next.done; next = await call.inTime(answers.next())) {
      yield written(adapting, next.value, context);
    }
  } finally {
    // Not awaited: a handler that waits for something else would hold the end of the call up.
    answers.return?.()?.catch(() => {});
  }
}

function iteratorOf(answers: unknown, desc: DescMethod): AsyncIterator<unknown> {
  if (typeof answers === "object" && answers !== null) {
    if (Symbol.asyncIterator in answers) return (answers as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    if (Symbol.iterator in answers) return asyncOf(answers as Iterable<unknown>);
  }
  throw new FfiError("INTERNAL", `The handler of ${desc.name} must give an AsyncIterable, and gave something else.`);
}

async function* asyncOf(values: Iterable<unknown>): AsyncGenerator<unknown> {
  yield* values;
}

/** An answer that does not fit its contract is the callee's mistake, not the caller's. */
function written({ desc, types }: Adapting, answer: unknown, { takesEncoded }: CallContext): object {
  try {
    return (takesEncoded ? sentValue : messageValue)(desc.output, answer ?? {}, types);
  } catch (error) {
    const { message } = HmsError.from(error);
    throw new HmsError(
      "INTERNAL",
      `The handler of ${desc.name} gave an answer that does not fit its contract: ${message}`,
      {
        cause: error,
      },
    );
  }
}

/** The service id and version of a contract's service. */
export function nameOfContract(source: DescService): { serviceId: string; version: string } {
  return keyOfContract(source.typeName, "");
}

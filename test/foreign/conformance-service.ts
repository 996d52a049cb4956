import { setTimeout as pause } from "node:timers/promises";
import { create, type DescMethod, type FileRegistry, type MessageShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "@connectrpc/connect";
import { ffiOptions } from "@hms/contracts";
import { rpcContextOf } from "@hms/grpc";
import {
  anonymous,
  type CallContext,
  ChangeSignal,
  HmsError,
  Kernel,
  type MethodEntry,
  statusCodeName,
} from "@hms/kernel";

const PACKAGE = "connectrpc.conformance.v1";

interface Header {
  name: string;
  value: string[];
}

interface Definition {
  responseHeaders: Header[];
  responseTrailers: Header[];
  responseDelayMs: number;
  /** Unary answers. */
  response?: { case?: "responseData" | "error"; value?: unknown };
  /** Streams. */
  responseData?: Uint8Array[];
  error?: Failure;
}

interface Failure {
  code: number;
  message?: string;
  details: Any[];
}

type Request = MessageShape<DescMethod["input"]> & { responseDefinition?: Definition; fullDuplex?: boolean };

/** A kernel that serves the conformance suite's service as one of another's, without a rule of ours in its contract. */
export function conformanceKernel(files: FileRegistry): Kernel {
  const service = files.getService(`${PACKAGE}.ConformanceService`);
  if (service === undefined) throw new Error("The suite's contract has no ConformanceService.");
  const scene = new Scene(files);
  const entries = new Map(service.methods.map((desc) => [desc.name, entryOf(desc, scene)]));
  const find = ({ method, service: name }: { method: string; service: string }) =>
    name === service.typeName ? entries.get(method) : undefined;
  return new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
    elsewhere: { find, services: () => [service], changed: new ChangeSignal() },
  });
}

function entryOf(desc: DescMethod, scene: Scene): MethodEntry {
  const { NONE, NO_SIDE_EFFECTS } = ffiOptions.Idempotency;
  const mutates = desc.name !== "IdempotentUnary";
  const idempotency = mutates ? NONE : NO_SIDE_EFFECTS;
  const rule = { permission: "conformance:run", resourcePath: [], auditLevel: ffiOptions.AuditLevel.NONE, idempotency };
  const name = `${desc.parent.typeName}/${desc.name}`;
  return { name, desc, rule, mutates, handler: scene.handlerOf(desc) as MethodEntry["handler"] };
}

/** What the suite's service does, as its contract describes it. */
class Scene {
  readonly #files: FileRegistry;

  constructor(files: FileRegistry) {
    this.#files = files;
  }

  handlerOf(desc: DescMethod): unknown {
    switch (desc.methodKind) {
      case "unary":
        return desc.name === "Unimplemented"
          ? () => {
              throw new HmsError("UNIMPLEMENTED", "Unimplemented is not implemented.");
            }
          : (request: Request, context: CallContext) => this.#answer(desc, [request], context);
      case "client_streaming":
        return async (requests: AsyncIterable<Request>, context: CallContext) => {
          const all: Request[] = [];
          for await (const request of requests) all.push(request);
          return this.#answer(desc, all, context);
        };
      case "server_streaming":
        return (request: Request, context: CallContext) => this.#stream(desc, one(request), context);
      case "bidi_streaming":
        return (requests: AsyncIterable<Request>, context: CallContext) => this.#stream(desc, requests, context);
    }
  }

  async #answer(desc: DescMethod, requests: Request[], context: CallContext): Promise<unknown> {
    const definition = requests[0]?.responseDefinition;
    const requestInfo = this.#infoOf(requests, context, true);
    setHeaders(definition, context);
    if (definition) await pause(definition.responseDelayMs);
    if (definition?.response?.case === "error") {
      throw this.#failure(definition.response.value as Failure, requestInfo);
    }
    const data = definition?.response?.value;
    return create(desc.output, { payload: { ...(data ? { data } : {}), requestInfo } } as never);
  }

  async *#stream(desc: DescMethod, requests: AsyncIterable<Request>, context: CallContext): AsyncGenerator<unknown> {
    let definition: Definition | undefined;
    let fullDuplex: boolean | undefined;
    let sent = 0;
    let seen: Request[] = [];
    const more = () => sent < (definition?.responseData?.length ?? 0);
    const next = async () => {
      await pause(definition?.responseDelayMs ?? 0);
      const requestInfo = sent === 0 || seen.length > 0 ? this.#infoOf(seen, context, sent === 0) : undefined;
      const data = definition?.responseData?.[sent];
      seen = [];
      sent += 1;
      return create(desc.output, { payload: { data, ...(requestInfo ? { requestInfo } : {}) } } as never);
    };
    for await (const request of requests) {
      if (fullDuplex === undefined) setHeaders(request.responseDefinition, context);
      // The first message says how to answer all of them.
      if (fullDuplex === undefined) definition = request.responseDefinition;
      fullDuplex ??= request.fullDuplex === true;
      seen.push(request);
      if (!fullDuplex) continue;
      if (!more()) break;
      yield await next();
    }
    while (more()) yield await next();
    if (definition?.error)
      throw this.#failure(definition.error, sent === 0 ? this.#infoOf(seen, context, true) : undefined);
  }

  #infoOf(requests: Request[], context: CallContext, whole: boolean): unknown {
    const packed = requests.map((request) => anyPack(this.#desc(request.$typeName), request));
    const exchange = rpcContextOf(context);
    if (!whole || exchange === undefined) return { requests: packed };
    const requestHeaders = headersOf(exchange.requestHeader);
    const timeoutMs = exchange.timeoutMs();
    const query = exchange.requestMethod === "GET" ? new URL(exchange.url).searchParams : undefined;
    return {
      requests: packed,
      requestHeaders,
      ...(timeoutMs === undefined ? {} : { timeoutMs: BigInt(Math.round(timeoutMs)) }),
      ...(query ? { connectGetInfo: { queryParams: headersOf(query) } } : {}),
    };
  }

  #failure({ code, message = "", details }: Failure, requestInfo: unknown): HmsError {
    const info = this.#desc(`${PACKAGE}.ConformancePayload.RequestInfo`);
    const all = requestInfo ? [...details, anyPack(info, create(info, requestInfo as never))] : details;
    const cause = new ConnectError(message, code as Code);
    cause.details = all.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value }));
    const name = statusCodeName(code);
    return new HmsError(name === "OK" ? "UNKNOWN" : name, message, { cause });
  }

  #desc(typeName: string) {
    const desc = this.#files.getMessage(typeName);
    if (desc === undefined) throw new Error(`The suite has no ${typeName}.`);
    return desc;
  }
}

async function* one<T>(value: T): AsyncGenerator<T> {
  yield value;
}

function headersOf(fields: Iterable<[string, string]>): Header[] {
  return [...fields].map(([name, value]) => ({ name, value: value.split(/, */) }));
}

function setHeaders(definition: Definition | undefined, context: CallContext): void {
  const exchange = rpcContextOf(context);
  if (definition === undefined || exchange === undefined) return;
  for (const { name, value } of definition.responseHeaders)
    for (const one of value) exchange.responseHeader.append(name, one);
  for (const { name, value } of definition.responseTrailers) {
    for (const one of value) exchange.responseTrailer.append(name, one);
  }
}

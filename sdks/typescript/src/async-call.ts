import { randomUUID } from "node:crypto";
import {
  type DescMessage,
  fromBinary,
  fromJsonString,
  type MessageInitShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { integrationOperations as operations } from "@hms/contracts";
import type { KnownMethod } from "@hms/direct-calls";
import { anyTypesOf, type CallContext, createClient, errorFromStatus, HmsError } from "@hms/kernel";
import type { Connection } from "./connection.ts";
import { FfiError } from "./errors.ts";
import { messageValue } from "./message-value.ts";
import { plainValue } from "./plain-value.ts";
import { callPatiently } from "./platform-calls.ts";

const LONGEST_WAIT_MS = 30_000;

/** How a call that outlives its caller is started. */
export interface AsyncCallOptions {
  /** How long the call itself may take; default 1 h, at most 7 days. */
  readonly timeoutMs?: number;
  /** The same key answers with the call it started before. */
  readonly idempotencyKey?: string;
  /** A method to be called with the ended operation, at least once. */
  readonly callback?: { readonly service: string; readonly method: string };
  /** How long the result is kept; default 24 h, at most 30 days. */
  readonly keepResultMs?: number;
  /** The call that it is started for: trace and request id go along. Default: none, or the span that is active here. */
  readonly context?: CallContext | undefined;
}

/** How a call stands that outlives its caller. */
export interface AsyncCallStatus {
  readonly state: "pending" | "running" | "succeeded" | "failed" | "cancelled" | "timed_out";
  readonly attempts: number;
  readonly startedAt: Date | undefined;
  readonly endedAt: Date | undefined;
}

interface Start {
  readonly method: KnownMethod;
  readonly request: object;
  readonly environment: string;
  readonly options: AsyncCallOptions;
  /** In which request and answer are kept. */
  readonly codec: "protobuf" | "json";
}

/** A call that outlives its caller: its id is all that has to be remembered. */
export class AsyncCall<T> {
  readonly id: string;
  readonly #connection: Connection;
  readonly #method: KnownMethod;

  constructor(id: string, connection: Connection, method: KnownMethod) {
    this.id = id;
    this.#connection = connection;
    this.#method = method;
  }

  #client() {
    return createClient(operations.OperationService, this.#connection.platform);
  }

  /** How the call stands now. @throws FfiError NOT_FOUND if it is forgotten */
  async status(): Promise<AsyncCallStatus> {
    const { operation } = await callPatiently(() => this.#client().getOperation({ operationId: this.id }));
    return statusOf(operation);
  }

  /**
   * Waits for the answer, as long as it takes by default.
   * @throws FfiError the call's own failure; DEADLINE_EXCEEDED after `timeoutMs`: the call goes on
   */
  async result({
    timeoutMs = Number.POSITIVE_INFINITY,
    signal,
  }: {
    timeoutMs?: number;
    signal?: AbortSignal;
  } = {}): Promise<T> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      if (performance.now() >= until) throw FfiError.of(stillRunning(this.id));
      const operation = await callPatiently(() => this.#wait(until - performance.now(), signal), { signal });
      if (operation && hasEnded(operation.state)) return this.#outcome(operation);
    }
  }

  async #wait(leftMs: number, signal: AbortSignal | undefined): Promise<operations.Operation | undefined> {
    const waitMs = Math.min(Math.max(0, Math.ceil(leftMs)), LONGEST_WAIT_MS);
    const request = { operationId: this.id, maxWait: durationFromMs(waitMs) };
    return (await this.#client().waitOperation(request, { signal })).operation;
  }

  #outcome({ state, response, error, codec }: operations.Operation): T {
    const { desc, types } = this.#method;
    if (state === operations.OperationState.SUCCEEDED) {
      return plainValue(desc.output, decoded(desc.output, response, codec), types) as T;
    }
    throw FfiError.of(error ? errorFromStatus(error) : new HmsError("UNKNOWN", `The call ${this.id} failed.`));
  }

  /** Asks the call to stop; it ends as cancelled unless it had ended before. @throws FfiError */
  async cancel(): Promise<AsyncCallStatus> {
    const { operation } = await callPatiently(() => this.#client().cancelOperation({ operationId: this.id }));
    return statusOf(operation);
  }
}

/** A kept answer, in whichever way the program that started the call wrote its request. */
function decoded(desc: DescMessage, bytes: Uint8Array, codec: operations.PayloadCodec): object {
  if (codec !== operations.PayloadCodec.JSON) return fromBinary(desc, bytes);
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  return fromJsonString(desc, text === "" ? "{}" : text, {
    registry: anyTypesOf(desc.file),
    ignoreUnknownFields: true,
  });
}

function encoded(desc: DescMessage, message: never, codec: Start["codec"]) {
  if (codec === "protobuf") return { request: toBinary(desc, message) };
  const text = toJsonString(desc, message, { registry: anyTypesOf(desc.file) });
  return { request: new TextEncoder().encode(text), codec: operations.PayloadCodec.JSON };
}

/** Starts a call that outlives its caller. @throws HmsError */
export async function startOperation<T>(connection: Connection, start: Start): Promise<AsyncCall<T>> {
  const { method, request, environment, options, codec } = start;
  const { desc, types } = method;
  const message = messageValue(desc.input, request, types);
  const client = createClient(operations.OperationService, connection.platform);
  const started: MessageInitShape<typeof operations.StartOperationRequestSchema> = {
    service: desc.parent.typeName,
    method: desc.name,
    environment,
    ...encoded(desc.input, message as never, codec),
    // With a key it may be asked for again when it is unclear whether it was started.
    idempotencyKey: options.idempotencyKey ?? randomUUID(),
    ...(options.timeoutMs === undefined ? {} : { timeout: durationFromMs(options.timeoutMs) }),
    ...(options.keepResultMs === undefined ? {} : { keepResult: durationFromMs(options.keepResultMs) }),
    ...(options.callback === undefined ? {} : { callback: options.callback }),
  };
  const { operation } = await callPatiently(() => client.startOperation(started, { context: options.context }));
  if (operation === undefined) throw new HmsError("INTERNAL", "The platform started the call without naming it.");
  return new AsyncCall<T>(operation.operationId, connection, method);
}

/** Finds a call again that was started before. @throws HmsError */
export async function resumeOperation<T>(
  connection: Connection,
  method: KnownMethod,
  id: string,
): Promise<AsyncCall<T>> {
  const call = new AsyncCall<T>(id, connection, method);
  await call.status();
  return call;
}

const { PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED, TIMED_OUT } = operations.OperationState;
const STATES = new Map<operations.OperationState, AsyncCallStatus["state"]>([
  [PENDING, "pending"],
  [RUNNING, "running"],
  [SUCCEEDED, "succeeded"],
  [FAILED, "failed"],
  [CANCELLED, "cancelled"],
  [TIMED_OUT, "timed_out"],
]);

function hasEnded(state: operations.OperationState): boolean {
  return state === SUCCEEDED || state === FAILED || state === CANCELLED || state === TIMED_OUT;
}

function statusOf(operation: operations.Operation | undefined): AsyncCallStatus {
  if (operation === undefined) throw FfiError.of(new HmsError("INTERNAL", "The platform answered without the call."));
  const { state, attempts, startedAt, endedAt } = operation;
  return {
    state: STATES.get(state) ?? "pending",
    attempts,
    startedAt: startedAt && timestampDate(startedAt),
    endedAt: endedAt && timestampDate(endedAt),
  };
}

function stillRunning(id: string): HmsError {
  return new HmsError(
    "DEADLINE_EXCEEDED",
    `The call ${id} has not ended yet; it goes on. Ask for its result again later.`,
  );
}

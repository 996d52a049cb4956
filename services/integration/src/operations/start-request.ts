import { createHash } from "node:crypto";
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import type { integrationOperations } from "@hms/contracts";
import { type CallContext, type Kernel, type MethodEntry, principalName } from "@hms/kernel";
import { methodUnknown, notUnary } from "../errors.ts";
import { v7 } from "../uuid.ts";
import type { NewOperation } from "./operation-store.ts";
import { decodePayload } from "./payload.ts";

const DEFAULT_TIMEOUT_MS = 3_600_000;
const DEFAULT_KEEP_MS = 86_400_000;

const msOf = (duration: Duration | undefined, fallback: number) =>
  duration === undefined ? fallback : durationMs(duration);

function sha256Of(request: integrationOperations.StartOperationRequest): Buffer {
  const hash = createHash("sha256");
  for (const part of [request.service, request.method, request.environment, String(request.codec)]) {
    hash.update(`${part}\0`);
  }
  return hash.update(request.request).digest();
}

async function unaryMethod(kernel: Kernel, name: Parameters<Kernel["resolve"]>[0]): Promise<MethodEntry> {
  const entry = await kernel.resolve(name);
  if (entry === undefined) throw methodUnknown(name.service, name.method, name.environment);
  if (entry.desc.methodKind !== "unary") throw notUnary(entry.name);
  return entry;
}

/**
 * Makes an operation of a request, so that what cannot work is refused before anything is kept.
 * @throws HmsError NOT_FOUND if nobody offers the method or its callback, INVALID_ARGUMENT if it streams or the request
 * is not its request
 */
export async function readStartRequest(
  kernel: Kernel,
  request: integrationOperations.StartOperationRequest,
  context: CallContext,
): Promise<NewOperation> {
  const { service, method, codec, callback, timeout, keepResult } = request;
  const { principal, requestId, traceparent } = context;
  const environment = request.environment || principal.environment || "default";
  const entry = await unaryMethod(kernel, { service, method, environment });
  decodePayload(entry.desc.input, request.request, codec);
  if (callback) await unaryMethod(kernel, { service: callback.service, method: callback.method, environment });
  return {
    operation_id: v7(),
    environment,
    service,
    method,
    codec,
    request: request.request,
    principal: principalName(principal),
    principal_facts: principal,
    idempotency_key: request.idempotencyKey || null,
    request_sha256: sha256Of(request),
    request_id: requestId,
    traceparent: traceparent ?? null,
    callback_service: callback?.service ?? null,
    callback_method: callback?.method ?? null,
    timeoutMs: msOf(timeout, DEFAULT_TIMEOUT_MS),
    keepMs: msOf(keepResult, DEFAULT_KEEP_MS),
  };
}

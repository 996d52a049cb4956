import { create, createRegistry, fromBinary, type JsonValue, toJson } from "@bufbuild/protobuf";
import { type Code, ConnectError } from "@connectrpc/connect";
import { errorDetails, ffiErrors, status } from "@hms/contracts";
import { errorFromStatus, errorToStatus, HmsError, SPECIAL_NETWORK } from "@hms/kernel";

const TYPE_URL = "type.googleapis.com/";
/** Longer texts help nobody, and gRPC carries them in header fields, of which many peers take 8 KiB. */
const MAX_MESSAGE_CHARACTERS = 2_000;
/** Details beyond this are left out, the last ones first: gRPC carries them in a header field too. */
const MAX_DETAIL_BYTES = 4 * 1024;

const readable = createRegistry(
  errorDetails.ErrorInfoSchema,
  errorDetails.BadRequestSchema,
  errorDetails.RetryInfoSchema,
  ffiErrors.TextPositionsSchema,
);

/** An error as Connect, gRPC and gRPC-Web carry it, with the detail bytes of every other edge. */
export function toConnectError(thrown: unknown): ConnectError {
  if (thrown instanceof ConnectError) return thrown;
  const error = HmsError.from(thrown);
  const { code, message, details } = errorToStatus(error);
  const shown = message.length > MAX_MESSAGE_CHARACTERS ? `${message.slice(0, MAX_MESSAGE_CHARACTERS)} …` : message;
  const made = new ConnectError(shown.toWellFormed(), code as Code);
  if (error.cause instanceof ConnectError && error.cause.details.length > 0) {
    // Another server's error passes through with details that only its caller knows.
    made.details = error.cause.details;
    return made;
  }
  let bytes = 0;
  for (const { typeUrl, value } of details) {
    bytes += value.length;
    if (bytes > MAX_DETAIL_BYTES) break;
    const type = typeUrl.slice(TYPE_URL.length);
    const debug = debugOf(type, value);
    made.details.push({ type, value, ...(debug === undefined ? {} : { debug }) });
  }
  return made;
}

/** The detail as people read it in Connect's JSON. */
function debugOf(type: string, value: Uint8Array): JsonValue | undefined {
  const desc = readable.getMessage(type);
  try {
    return desc && toJson(desc, fromBinary(desc, value));
  } catch {
    // Of a program, and nothing that JSON has a form for: the bytes are passed on all the same.
    return undefined;
  }
}

/** Codes of Node with which a connection was not even made. */
const NEVER_CONNECTED = new Set([
  "ECONNREFUSED",
  "ENOENT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  SPECIAL_NETWORK,
]);
/** Codes of Node with which a connection ended. */
const LOST = new Set([
  "ECONNRESET",
  "EPIPE",
  "ERR_STREAM_DESTROYED",
  "ERR_HTTP2_STREAM_CANCEL",
  "ERR_HTTP2_SESSION_ERROR",
]);
const UNTRUSTED = /^ERR_(SSL|TLS)_|CERT|UNABLE_TO_VERIFY|DEPTH_ZERO/;

/** The error of a call that was made by Connect or gRPC, with what the server said or what became of the connection. */
export function fromConnectError(thrown: unknown): HmsError {
  if (thrown instanceof HmsError) return thrown;
  if (!(thrown instanceof ConnectError)) return HmsError.from(thrown);
  const local = thrown.isWireError ? undefined : fromNode(thrown);
  if (local !== undefined) return local;
  const details = thrown.details.flatMap((detail) =>
    "type" in detail ? [{ typeUrl: TYPE_URL + detail.type, value: detail.value }] : [],
  );
  const received = create(status.StatusSchema, { code: thrown.code, message: thrown.rawMessage, details });
  const { code, message, details: known } = errorFromStatus(received);
  return new HmsError(code, message, { ...known, cause: thrown });
}

function fromNode(thrown: ConnectError): HmsError | undefined {
  const causes = causesOf(thrown);
  const known = causes.find((cause) => cause instanceof HmsError);
  if (known !== undefined) return known as HmsError;
  const codes = causes.map((cause) => ("code" in cause ? String(cause.code) : ""));
  const why = thrown.rawMessage;
  if (codes.some((code) => UNTRUSTED.test(code))) {
    return new HmsError("UNAUTHENTICATED", `No trust between this side and the server: ${why}.`, { cause: thrown });
  }
  if (codes.some((code) => NEVER_CONNECTED.has(code))) {
    const message = `The server does not answer (${why}): start it, or check its address.`;
    return new HmsError("UNAVAILABLE", message, { reason: "NOT_CONNECTED", cause: thrown });
  }
  if (codes.some((code) => LOST.has(code))) {
    return connectionLost(thrown);
  }
  if (codes.includes("ERR_HTTP2_ERROR")) {
    const message = `What answers there does not keep to HTTP/2 (${why}): check that it is a gRPC server, without TLS.`;
    return new HmsError("UNAVAILABLE", message, { reason: "CONNECTION_LOST", cause: thrown });
  }
  return undefined;
}

/** The error of a call whose connection has ended before its answer came. */
export function connectionLost(cause: unknown): HmsError {
  const message = "The connection to the server broke; whether the call took effect is unknown.";
  return new HmsError("UNAVAILABLE", message, { reason: "CONNECTION_LOST", cause });
}

function causesOf(thrown: ConnectError): Error[] {
  const causes: Error[] = [];
  for (let cause = thrown.cause; cause instanceof Error && !causes.includes(cause); cause = cause.cause)
    causes.push(cause);
  return causes;
}

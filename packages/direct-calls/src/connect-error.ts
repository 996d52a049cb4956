import { create } from "@bufbuild/protobuf";
import { status } from "@hms/contracts";
import { type ErrorCode, errorFromStatus, HmsError, StatusCode } from "@hms/kernel";

/** What a server that does not speak Connect means by its status (connectrpc.com, "HTTP to Error Code"). */
const BY_STATUS: Record<number, ErrorCode> = {
  400: "INTERNAL",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "UNIMPLEMENTED",
  429: "UNAVAILABLE",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "UNAVAILABLE",
};

interface ConnectErrorBody {
  code?: unknown;
  message?: unknown;
  details?: { type?: unknown; value?: unknown }[];
}

function codeOf(name: unknown): ErrorCode | undefined {
  if (name === "canceled") return "CANCELLED";
  const code = String(name).toUpperCase();
  return code !== "OK" && Object.hasOwn(StatusCode, code) ? (code as ErrorCode) : undefined;
}

/** The error that a Connect answer carries, with its details. */
export function connectError(body: unknown): HmsError {
  const { code, message, details } = (typeof body === "object" && body !== null ? body : {}) as ConnectErrorBody;
  const packed = (Array.isArray(details) ? details : []).map(({ type, value }) => ({
    typeUrl: `type.googleapis.com/${type}`,
    value: new Uint8Array(Buffer.from(String(value), "base64")),
  }));
  return errorFromStatus(
    create(status.StatusSchema, {
      code: StatusCode[codeOf(code) ?? "UNKNOWN"],
      message: typeof message === "string" ? message : "",
      details: packed,
    }),
  );
}

/** The error of an answer that is not 200: Connect's own, or what the status means. */
export function errorOfStatus(statusCode: number, content: Buffer): HmsError {
  try {
    const body = JSON.parse(content.toString("utf8")) as ConnectErrorBody;
    if (codeOf(body.code) !== undefined) return connectError(body);
  } catch {
    // Not Connect: some proxy on the way has answered.
  }
  const text = content.toString("utf8", 0, 200).trim();
  return new HmsError(
    BY_STATUS[statusCode] ?? "UNKNOWN",
    `The server answered with HTTP ${statusCode}${text ? `: ${text}` : "."}`,
  );
}

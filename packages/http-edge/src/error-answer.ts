import { createRegistry, type JsonValue, toJson } from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { errorDetails, ffiErrors, status } from "@hms/contracts";
import { errorToStatus, type HmsError } from "@hms/kernel";
import { HTTP_STATUS } from "./http-status.ts";

const registry = createRegistry(
  errorDetails.file_google_rpc_error_details,
  ffiErrors.file_hms_ffi_v1_errors,
  status.file_google_rpc_status,
);

/**
 * An error as JSON text in the shape of Google's APIs (AIP-193): `{"error": {code, message, status, details}}`, where
 * code is the HTTP status and details are the same messages as on every other edge.
 */
export function errorJson(error: HmsError, httpStatus = HTTP_STATUS[error.code]): string {
  const { message, details } = errorToStatus(error);
  const shown = details.flatMap(shownDetail);
  const body = { code: httpStatus, message, status: error.code };
  return JSON.stringify({ error: shown.length === 0 ? body : { ...body, details: shown } });
}

/** A program's own may be of any type, and hold what JSON has no form for: it is left out then. */
function shownDetail(detail: Any): JsonValue[] {
  try {
    return [toJson(AnySchema, detail, { registry })];
  } catch {
    return [];
  }
}

/** Seconds after which to come back, for retry-after; undefined if the error does not say. */
export function retryAfter({ details }: HmsError): string | undefined {
  return details.retryAfterMs === undefined ? undefined : String(Math.ceil(details.retryAfterMs / 1000));
}

import { isUtf8 } from "node:buffer";
import { fault } from "./edge-fault.ts";

/**
 * Parses JSON text.
 * @throws EdgeFault INVALID_ARGUMENT if it is none
 */
export function parseJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw fault("INVALID_ARGUMENT", "The body is not UTF-8.", { reason: "JSON_INVALID" });
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw fault("INVALID_ARGUMENT", `The body is not JSON: ${(error as Error).message}.`, { reason: "JSON_INVALID" });
  }
}

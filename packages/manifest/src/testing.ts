import { type FieldViolation, HmsError } from "@hms/kernel/errors";
import { type ParseOptions, parseManifest } from "./parse-manifest.ts";

/** The fewest keys a manifest can have. */
export const SMALLEST = "name: receipt-svc\nrun: {command: node index.js}\n";

/** The problems of a manifest, none if it can be read; anything but an HmsError INVALID_ARGUMENT goes through. */
export function problemsOf(source: string | Uint8Array, options?: ParseOptions): FieldViolation[] {
  try {
    parseManifest(source, options);
    return [];
  } catch (error) {
    if (!(error instanceof HmsError) || error.code !== "INVALID_ARGUMENT") throw error;
    return error.details.fieldViolations ?? [];
  }
}

/** The problems as "line:column field: description". */
export function problemTexts(source: string | Uint8Array, options?: ParseOptions): string[] {
  return problemsOf(source, options).map(
    ({ line, column, field, description }) => `${line}:${column} ${field}: ${description}`,
  );
}

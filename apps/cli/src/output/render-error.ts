import type { FieldViolation, HmsError } from "@hms/kernel/errors";
import type { Painter } from "./painter.ts";

function place({ line, column }: FieldViolation): string {
  return line === undefined ? "" : `${line}:${column ?? 1} `;
}

/** An error as a person reads it: what, why, what to do, then every single problem. */
export function renderError(error: HmsError, paint: Painter): string {
  const lines = [`${paint.bad("✗")} ${error.message}`];
  for (const violation of error.details.fieldViolations ?? []) {
    lines.push(`  ${paint.dim(place(violation))}${paint.strong(violation.field)}: ${violation.description}`);
  }
  if (error.code === "INTERNAL" && error.cause instanceof Error)
    lines.push(paint.dim(`  ${error.cause.stack ?? error.cause.message}`));
  return `${lines.join("\n")}\n`;
}

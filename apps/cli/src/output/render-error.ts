import type { FieldViolation, HmsError } from "@hms/kernel/errors";
import type { Painter } from "./painter.ts";

function place({ line, column }: FieldViolation): string {
  return line === undefined ? "" : `${line}:${column ?? 1} `;
}

function describe(violation: FieldViolation, paint: Painter): string {
  const { field, description } = violation;
  const name = field === "" ? "" : `${paint.strong(field)}: `;
  return `  ${paint.dim(place(violation))}${name}${description}`;
}

/** A single problem that the message tells already needs no list. */
const isSaid = ({ field, description, line }: FieldViolation, message: string) =>
  line === undefined && message === `${field}: ${description}`;

/** An error as a person reads it: what, why, what to do, then every single problem. */
export function renderError(error: HmsError, paint: Painter): string {
  const lines = [`${paint.bad("✗")} ${error.message}`];
  for (const violation of error.details.fieldViolations ?? []) {
    if (!isSaid(violation, error.message)) lines.push(describe(violation, paint));
  }
  if (error.code === "INTERNAL" && error.cause instanceof Error)
    lines.push(paint.dim(`  ${error.cause.stack ?? error.cause.message}`));
  return `${lines.join("\n")}\n`;
}

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

/** Every problem is told once: a single one by the message, several by the list below it. */
function toldOnce(message: string, violations: readonly FieldViolation[]): [string, readonly FieldViolation[]] {
  if (violations.some(({ line }) => line !== undefined)) return [message, violations];
  const inMessage = violations.map(({ field, description }) =>
    field === "" ? description : `${field}: ${description}`,
  );
  const all = inMessage.join(" ");
  if (all === "" || !message.includes(all)) return [message, violations];
  const rest = message.replace(all, "").replace(/ {2,}/g, " ").trim();
  return violations.length === 1 || rest === "" ? [message, []] : [rest, violations];
}

/** An error as a person reads it: what, why, what to do, then every single problem. */
export function renderError(error: HmsError, paint: Painter): string {
  const [message, violations] = toldOnce(error.message, error.details.fieldViolations ?? []);
  const lines = [`${paint.bad("✗")} ${message}`, ...violations.map((violation) => describe(violation, paint))];
  if (error.code === "INTERNAL" && error.cause instanceof Error)
    lines.push(paint.dim(`  ${error.cause.stack ?? error.cause.message}`));
  return `${lines.join("\n")}\n`;
}

import { HmsError } from "@hms/kernel";

/** What was wrong with what a form brought, as its page says it; undefined for any other failure. */
export function problemsOf(error: unknown): string[] | undefined {
  if (!(error instanceof HmsError) || error.code !== "INVALID_ARGUMENT") return undefined;
  const violations = error.details.fieldViolations ?? [];
  if (violations.length === 0) return [error.message];
  return violations.map(({ field, description }) => `The ${field.replaceAll("_", " ")} ${description}`);
}

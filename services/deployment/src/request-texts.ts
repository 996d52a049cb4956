import { HmsError, type Metadata } from "@hms/kernel";

const LONGEST_REASON = 500;

/** @throws HmsError INVALID_ARGUMENT with what is wrong with the texts of a request */
export function refuseTexts({ reason, tag = "" }: { reason: string; tag?: string }): void {
  const problems = [];
  if (reason.length > LONGEST_REASON) {
    const description = `A reason has at most ${LONGEST_REASON} characters, and this one has ${reason.length}. Shorten it.`;
    problems.push({ field: "reason", description });
  }
  if (reason.includes("\0")) {
    const description = "It has a NUL character (U+0000), which no history can keep. Leave it out.";
    problems.push({ field: "reason", description });
  }
  if (tag !== "" && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(tag)) {
    const description = `"${tag.slice(0, 80)}" is no tag. Use 1 to 63 letters, digits, dots, hyphens and underscores.`;
    problems.push({ field: "tag", description });
  }
  if (problems.length === 0) return;
  const message = problems.map(({ field, description }) => `${field}: ${description}`).join(" ");
  throw new HmsError("INVALID_ARGUMENT", message, { fieldViolations: problems });
}

/** The run that says it does this, for the history. */
export function runOf(metadata: Metadata): { run?: string } {
  const run = metadata["x-hms-run"] ?? "";
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(run) ? { run } : {};
}

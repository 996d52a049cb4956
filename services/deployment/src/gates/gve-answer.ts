import type { Look } from "./look.ts";

const VERDICTS: Readonly<Record<string, Look["verdict"]>> = { GREEN: "pass", YELLOW: "inconclusive", RED: "fail" };
const LONGEST_REASON = 200;

/**
 * Reads a probe's answer: GREEN, YELLOW or RED, as the only word or as `status` of a JSON object, with a `reason` if it likes.
 * Undefined if it says none of them.
 */
export function readGveAnswer(text: string): Look | undefined {
  const { status, reason } = parsed(text);
  // A contract's enum says "STATUS_GREEN".
  const word = status.trim().toUpperCase().split("_").at(-1) ?? "";
  const verdict = Object.hasOwn(VERDICTS, word) ? VERDICTS[word] : undefined;
  if (verdict === undefined) return undefined;
  return { verdict, words: reason === "" ? word : `${word}: ${reason.slice(0, LONGEST_REASON)}` };
}

function parsed(text: string): { status: string; reason: string } {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "string") return { status: value, reason: "" };
    if (typeof value !== "object" || value === null) return { status: "", reason: "" };
    const { status, reason } = value as Record<string, unknown>;
    return { status: typeof status === "string" ? status : "", reason: typeof reason === "string" ? reason : "" };
  } catch {
    return { status: text, reason: "" };
  }
}

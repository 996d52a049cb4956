/**
 * JSON as PostgreSQL keeps it (jsonb): of what programs have said, NUL characters and halves of surrogate pairs become U+FFFD,
 * since jsonb refuses both, and what cannot be written down could neither go on nor end.
 */
export function storedJson(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === "string" ? storedText(each) : each));
}

/** A text as PostgreSQL keeps it. */
export function storedText(text: string): string {
  return text.replaceAll("\0", "\ufffd").toWellFormed();
}

import type { Position, ProblemList } from "./problem-list.ts";

const MAX_BYTES = 65_536;
const START: Position = { line: 1, column: 1 };
/** What YAML does not allow, and U+FFFD, which is what is left of bytes that were no UTF-8. */
const IMPOSSIBLE = /(?![\t\n\r])[\p{Cc}\p{Cs}\ufffd\ufffe\uffff]/u;

/** The text without a byte order mark; undefined, with the reason in `problems`, if it is too large or no text. */
export function decodeManifest(source: string | Uint8Array, problems: ProblemList): string | undefined {
  const size = typeof source === "string" && source.length > MAX_BYTES ? source.length : Buffer.byteLength(source);
  if (size > MAX_BYTES) {
    problems.add(
      "",
      START,
      `The file is too large for a manifest: at most ${MAX_BYTES / 1024} KiB are read. Is this the right file?`,
    );
    return undefined;
  }
  const text = (
    typeof source === "string" ? source : new TextDecoder("utf-8", { ignoreBOM: true }).decode(source)
  ).replace(/^\ufeff/, "");
  const found = IMPOSSIBLE.exec(text);
  if (!found) return text;
  problems.add("", positionIn(text, found.index), impossibleCharacter(found[0]));
  return undefined;
}

function impossibleCharacter(character: string): string {
  if (character === "\ufffd") return "The file is not UTF-8 here. Save it as UTF-8";
  if (character === "\0")
    return "The file has a NUL character here, so it is no text or not UTF-8. Save it as UTF-8 text";
  const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
  return `The file has the character U+${code} here, which YAML does not allow. Remove it`;
}

function positionIn(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: offset - lineStart + 1 };
}

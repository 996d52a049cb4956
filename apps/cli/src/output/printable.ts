// The painter's own sequences; whoever writes others into a name would paint, move or hide what the operator reads.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const SPECIAL = /(\u001b\[(?:1|2|22|31|32|33|39)m)|[\p{Cc}\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/gu;
const LINES = new Set(["\n", "\t"]);

/** A text whose control characters are written out ("\u001b"), because others have chosen it; colours of ours stay. */
export function oneLine(text: string): string {
  return text.replace(SPECIAL, (found, colour: string | undefined) => colour ?? written(found));
}

/** The same for a text of several lines: tabs and line ends stay. */
export function printable(text: string): string {
  return text.replace(
    SPECIAL,
    (found, colour: string | undefined) => colour ?? (LINES.has(found) ? found : written(found)),
  );
}

const written = (letter: string) => `\\u${(letter.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;

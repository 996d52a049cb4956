/** Writes words so that a POSIX shell reads back exactly these words. */
export function shellQuote(...words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}

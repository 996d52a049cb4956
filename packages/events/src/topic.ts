/** Letters, digits, - and _ in parts divided by dots. */
const PART = "[A-Za-z0-9_-]+";
const TOPIC = new RegExp(`^${PART}(?:\\.${PART})*$`);
const PATTERN = new RegExp(`^(?:\\*\\*|(?:\\*|${PART})(?:\\.(?:\\*|${PART}))*(?:\\.\\*\\*)?)$`);
const LONGEST_TOPIC = 255;

/** True for a topic: parts of letters, digits, - and _ divided by dots, at most 255 characters. */
export function isTopic(text: string): boolean {
  return text.length <= LONGEST_TOPIC && TOPIC.test(text);
}

/** True for a pattern of topics: `*` stands for one part, `**` at the end for one or more. */
export function isTopicPattern(text: string): boolean {
  return text.length <= LONGEST_TOPIC && PATTERN.test(text);
}

// No object: parts may be called "constructor" or "__proto__".
const SOURCE_OF: ReadonlyMap<string, string> = new Map([
  ["**", ".+"],
  ["*", "[^.]+"],
]);

/** Patterns as one regular expression, in what JavaScript and PostgreSQL have in common; null if all topics match. */
export function topicExpression(patterns: readonly string[]): string | null {
  if (patterns.includes("**")) return null;
  const alternatives = patterns.map((pattern) =>
    pattern
      .split(".")
      .map((part) => SOURCE_OF.get(part) ?? part)
      .join("\\."),
  );
  return `^(?:${alternatives.join("|")})$`;
}

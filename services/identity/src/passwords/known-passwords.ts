let words: Promise<ReadonlySet<string>> | undefined;

/**
 * The passwords that leaked lists have most often: the list of @zxcvbn-ts/language-common (MIT), read when a password is
 * set for the first time.
 */
function knownPasswords(): Promise<ReadonlySet<string>> {
  words ??= import("@zxcvbn-ts/language-common").then(
    ({ dictionary }) => new Set<string>(dictionary["passwords-common"]),
  );
  return words;
}

const EDGES = /^[^a-z]+|[^a-z]+$/g;

/**
 * Whether a password is one of those that are tried first: on the list, a word of the list with digits and signs around
 * it, or twice the same.
 */
export async function isWidelyKnown(password: string): Promise<boolean> {
  const known = await knownPasswords();
  const text = password.toLowerCase();
  const half = text.slice(0, text.length / 2);
  const once = half.repeat(2) === text ? half : text;
  const candidates = [text, once, text.replace(EDGES, ""), once.replace(EDGES, "")];
  return candidates.some((candidate) => known.has(candidate)) || isRepetition(text) || isRow(text);
}

/** One to four characters again and again. */
function isRepetition(text: string): boolean {
  return /^(.{1,4})\1+.{0,3}$/s.test(text);
}

/** Characters in a row, as "abcdefghijkl" or "987654321098". */
function isRow(text: string): boolean {
  const steps = [...text].slice(1).map((letter, at) => letter.charCodeAt(0) - text.charCodeAt(at));
  const even = steps.filter((step) => step === steps[0] && Math.abs(step) <= 1).length;
  return steps.length > 0 && even >= steps.length - 1;
}

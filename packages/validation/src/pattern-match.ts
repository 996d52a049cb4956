import { RE2JS } from "@bufbuild/re2";
import { boundedWork } from "./bounded-work.ts";
import { LONG_TEXT } from "./large-message.ts";

const LONGEST_MS = 500;
const MOST_KEPT = 1_024;

const kept = new Map<string, RE2JS>();

/**
 * Whether a pattern in RE2's syntax matches some part of a text, as protovalidate would find, but for at most 0.5 s.
 * @throws TookTooLong, or RE2JSSyntaxException
 */
export function patternMatches(pattern: string, text: string): boolean {
  let compiled = kept.get(pattern);
  if (compiled === undefined) {
    if (kept.size >= MOST_KEPT) kept.clear();
    compiled = RE2JS.compile(pattern);
    kept.set(pattern, compiled);
  }
  const known = compiled;
  return text.length <= LONG_TEXT ? known.test(text) : boundedWork(() => known.test(text), LONGEST_MS);
}

import { HmsError } from "@hms/kernel";

/** A route path, compiled: what kind it is and its segments. */
export interface PathPattern {
  /** As written, the label of its metrics. */
  source: string;
  kind: "exact" | "parameter" | "wildcard";
  /** Without the leading slash; null stands for a parameter; the "*" of a wildcard is not among them. */
  segments: readonly (string | null)[];
}

const PARAMETER = /^\{[A-Za-z_][A-Za-z0-9_]*\}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses.
const IMPOSSIBLE = /[{}*?#\u0000-\u0020\u007f]/;

/** Compiles a route path. Raises INVALID_ARGUMENT if it is not one of the three forms. */
export function compilePathPattern(source: string): PathPattern {
  if (!source.startsWith("/")) throw invalid(source, 'a path starts with "/"');
  const parts = source.slice(1).split("/");
  const wildcard = parts.at(-1) === "*";
  if (wildcard) parts.pop();
  const segments = parts.map((part) => {
    if (PARAMETER.test(part)) return null;
    if (IMPOSSIBLE.test(part)) throw invalid(source, `"${part}" is neither plain text nor {name}`);
    return part;
  });
  const kind = wildcard ? "wildcard" : segments.includes(null) ? "parameter" : "exact";
  return { source, kind, segments };
}

function invalid(source: string, why: string): HmsError {
  return new HmsError(
    "INVALID_ARGUMENT",
    `Route path "${source}" cannot be used: ${why}. Write "/receipt", "/users/{id}" or "/files/*".`,
    { reason: "ROUTE_PATH_INVALID" },
  );
}

/** Whether the path's segments from its first slash on fit the pattern. */
export function segmentsMatch(pattern: PathPattern, segments: readonly string[]): boolean {
  const wanted = pattern.segments;
  if (pattern.kind === "wildcard" ? segments.length <= wanted.length : segments.length !== wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) {
    const expected = wanted[i];
    const actual = segments[i] as string;
    if (expected === null ? actual === "" : actual !== expected) return false;
  }
  return true;
}

/** Orders patterns by preference: literal text before parameters from the left, longer before shorter. */
export function comparePatterns(a: PathPattern, b: PathPattern): number {
  const rank = (pattern: PathPattern) => (pattern.kind === "wildcard" ? 1 : 0);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (a.segments.length !== b.segments.length) return b.segments.length - a.segments.length;
  for (let i = 0; i < a.segments.length; i++) {
    const left = a.segments[i] === null ? 1 : 0;
    const right = b.segments[i] === null ? 1 : 0;
    if (left !== right) return left - right;
  }
  return 0;
}

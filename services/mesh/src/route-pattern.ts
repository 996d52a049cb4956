const LONGEST_PATH = 512;
const LITERAL = /^(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})+$/;
const VARIABLE = /^\{[A-Za-z_][A-Za-z0-9_]*\}$/;

/** A route's claim: which requests are its own. */
export interface RouteClaim {
  /** The pattern without its variables' names: "/users/{}". */
  pattern: string;
  /** Upper case; empty: all methods. */
  methods: readonly string[];
}

/** A parsed path, or what is wrong with it and what to write instead. */
export type ParsedPath = { pattern: string } | { problem: string };

function segmentProblem(segment: string, last: boolean): string | undefined {
  if (segment === "") return last ? undefined : "has two slashes in a row; leave one out.";
  if (segment === "." || segment === "..") return `has the segment "${segment}"; write the path it leads to.`;
  if (segment === "*") return last ? undefined : 'has "*" before its end; write {name} for one segment.';
  if (VARIABLE.test(segment) || LITERAL.test(segment)) return undefined;
  return `has the segment "${segment.slice(0, 40)}"; write plain characters, {name} for one segment, or * at the end.`;
}

function repeatedVariable(segments: string[]): string | undefined {
  const names = segments.filter((segment) => VARIABLE.test(segment));
  return names.find((name, index) => names.indexOf(name) !== index);
}

/** Reads "/receipt", "/users/{id}" or "/files/*". */
export function parsePath(path: string): ParsedPath {
  if (path.length > LONGEST_PATH) return { problem: `is longer than ${LONGEST_PATH} characters.` };
  if (!path.startsWith("/")) return { problem: `"${path}" does not begin with a slash; write "/${path}".` };
  const segments = path.slice(1).split("/");
  for (const [index, segment] of segments.entries()) {
    const problem = segmentProblem(segment, index === segments.length - 1);
    if (problem) return { problem: `"${path}" ${problem}` };
  }
  const repeated = repeatedVariable(segments);
  if (repeated) return { problem: `"${path}" names ${repeated} twice; give each variable its own name.` };
  return { pattern: `/${segments.map((segment) => (VARIABLE.test(segment) ? "{}" : segment)).join("/")}` };
}

/** True if one request could belong to both. */
export function claimsOverlap(a: RouteClaim, b: RouteClaim): boolean {
  if (a.pattern !== b.pattern) return false;
  if (a.methods.length === 0 || b.methods.length === 0) return true;
  return a.methods.some((method) => b.methods.includes(method));
}

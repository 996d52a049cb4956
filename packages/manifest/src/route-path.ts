import type { TextReading } from "./schema-node.ts";

/** What a route's path looks like, for editors; readRoutePath decides. */
export const ROUTE_PATH_PATTERN = "^/[^?#\\s]*$";

// A colon may be inside ("/v1/jobs:run") but not first: elsewhere that means a variable segment.
const LITERAL_SEGMENT = /^(?!:)(?:[A-Za-z0-9\-._~!$&'()+,;=:@]|%[0-9A-Fa-f]{2})+$/;
const PARAMETER = /^\{[A-Za-z_][A-Za-z0-9_]*\}$/;

function segmentProblem(segment: string): string | undefined {
  if (segment === "." || segment === "..") return `has the segment "${segment}". Write the path it leads to`;
  if (PARAMETER.test(segment) || LITERAL_SEGMENT.test(segment)) return undefined;
  if (segment.startsWith(":")) {
    return `has the segment ${segment}. Write {${segment.slice(1) || "name"}} for a variable segment`;
  }
  if (/[{}*]/.test(segment)) {
    return "mixes text with { } or *. A variable segment is {name} alone, and * stands alone as the last segment";
  }
  return "has characters that a path cannot have. Percent-encode them, as in %20";
}

function segmentsProblem(segments: readonly string[]): string | undefined {
  const inner = segments.at(-1) === "*" || segments.at(-1) === "" ? segments.slice(0, -1) : segments;
  if (inner.includes("")) return "has two slashes in a row. Leave one out";
  const parameters = inner.filter((segment) => PARAMETER.test(segment));
  const repeated = parameters.find((segment, index) => parameters.indexOf(segment) !== index);
  if (repeated) return `names ${repeated} twice. Give each segment its own name`;
  return inner.map(segmentProblem).find((problem) => problem !== undefined);
}

/** Reads a route's path: "/receipt" exactly, "/users/{id}" for one segment, "/files/*" for everything below. */
export function readRoutePath(text: string): TextReading {
  if (!text.startsWith("/")) return { problem: `does not start with a slash. Write /${text.replace(/^\.?\/*/, "")}` };
  if (/[?#]/.test(text))
    return { problem: "has a query or fragment. A route is matched by its path alone: leave that out" };
  const problem = segmentsProblem(text.slice(1).split("/"));
  return problem === undefined ? { value: text } : { problem };
}

/** The same text for paths that match the same requests: names of variable segments do not count. */
export function routeShape(path: string): string {
  return path.replace(/\{[^}/]*\}/g, "{}");
}

/** Reads the beginning of a path, "/api/v1": whole segments, none of them variable. */
export function readPathPrefix(text: string): TextReading {
  const read = readRoutePath(text);
  if ("problem" in read) return read;
  if (text.endsWith("/")) return { problem: `ends with a slash. Write ${text.replace(/\/+$/, "") || "/api"}` };
  return /[{*]/.test(text) ? { problem: "has a variable segment. Write it with plain segments only" } : read;
}

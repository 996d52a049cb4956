import type { TextReading } from "./schema-node.ts";

/** What a health check's path looks like, for editors. */
export const PROBE_PATH_PATTERN = '^/[!-"$-~]*$';

const SHAPE = new RegExp(PROBE_PATH_PATTERN);

/** Reads a path to be asked for, with or without a query: printable ASCII, a slash first. */
export function readProbePath(text: string): TextReading {
  if (/^[a-z]+:\/\//i.test(text)) {
    return { problem: "is a whole address. Write the path alone, such as /healthz: the platform knows host and port" };
  }
  if (!text.startsWith("/")) return { problem: `does not start with a slash. Write /${text}` };
  if (SHAPE.test(text)) return { value: text };
  return {
    problem: "has characters that a path cannot have. Percent-encode them, as in %20, and leave out any #fragment",
  };
}

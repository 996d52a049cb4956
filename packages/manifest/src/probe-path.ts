import type { TextReading } from "./schema-node.ts";

/** What a health check's path looks like, for editors. */
export const PROBE_PATH_PATTERN = '^/[!-"$-~]*$';

const SHAPE = new RegExp(PROBE_PATH_PATTERN);

const METHOD = "[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)+/[A-Za-z_][A-Za-z0-9_]*";

/** What a GVE probe looks like, for editors: a path, or a method with its service. */
export const GVE_PATTERN = `^(/[!-"$-~]*|${METHOD})$`;

const IS_METHOD = new RegExp(`^${METHOD}$`);

/** Whether a GVE probe is a method, "demo.shop.v1.ShopService/Values". */
export function isProbeMethod(text: string): boolean {
  return IS_METHOD.test(text);
}

/** Reads a GVE probe: a path, or a method of a contract. */
export function readGveProbe(text: string): TextReading {
  if (isProbeMethod(text)) return { value: text };
  const reading = readProbePath(text);
  if ("value" in reading || text.startsWith("/") || text.includes("://")) return reading;
  return {
    problem: `is neither a path nor a method. Write /values, or a method with its service: demo.shop.v1.ShopService/Values`,
  };
}

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

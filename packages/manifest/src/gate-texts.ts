import { parseDuration } from "./duration.ts";
import type { TextReading } from "./schema-node.ts";

/** The most that a metric may be: a share (0 to 1) of requests, or a time. */
export type GateLimit = { readonly share: number } | { readonly ms: number };

/** Reads "1%" or "250ms"; undefined if it is neither. */
export function parseGateLimit(text: string): GateLimit | undefined {
  const percent = /^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(text)?.[1];
  if (percent !== undefined) return Number(percent) <= 100 ? { share: Number(percent) / 100 } : undefined;
  const ms = parseDuration(text);
  return ms === undefined || ms === 0 ? undefined : { ms };
}

/** Reads a limit as it is written in a manifest. */
export function readGateLimit(text: string): TextReading {
  if (parseGateLimit(text)) return { value: text };
  return {
    problem: "is no limit. Write a percentage for error_rate (1%, 0.5%), or a duration for latency (250ms, 2s)",
  };
}

/** What a rate looks like, for editors. */
export const GATE_RATE_PATTERN = "^[0-9]{1,7}(\\.[0-9]{1,3})?/s$";

/** Reads "5/s" as requests in a second; undefined if it is no rate. */
export function parseGateRate(text: string): number | undefined {
  return new RegExp(GATE_RATE_PATTERN).test(text) ? Number(text.slice(0, -2)) : undefined;
}

/** Reads a rate as it is written in a manifest. */
export function readGateRate(text: string): TextReading {
  if (parseGateRate(text) !== undefined) return { value: text };
  return { problem: "is no rate of requests. Write a number, a slash and s: 5/s, 0.5/s" };
}

/** What a gate's name looks like, for editors. */
export const GATE_NAME_PATTERN = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";

/** Reads a gate's name as it is written in a manifest. */
export function readGateName(text: string): TextReading {
  if (new RegExp(GATE_NAME_PATTERN).test(text)) return { value: text };
  return { problem: "is no name of a gate. Write lower-case letters, digits and inner hyphens: smoke, error-rate" };
}

/** What a web-hook's address looks like, for editors. */
export const WEBHOOK_PATTERN = "^https?://[^\\s]+$";

/** Reads a web-hook's address as it is written in a manifest. */
export function readWebhook(text: string): TextReading {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !new RegExp(WEBHOOK_PATTERN).test(text)) {
    return { problem: "is no address. Write http:// or https://, a host and a path: https://release.example.org/ask" };
  }
  if (url.username !== "" || url.password !== "") {
    return { problem: "holds credentials, which everybody would read who reads the manifest. Leave them out" };
  }
  return { value: text };
}

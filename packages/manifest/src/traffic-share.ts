import type { TextReading } from "./schema-node.ts";

/** What a share of the traffic looks like, for editors. */
export const TRAFFIC_SHARE_PATTERN = "^([1-9]?[0-9]|100)(\\.[0-9]{1,2})?%$";

/** Reads "12.5%" as ten-thousandths; undefined if it is no share from 0.01% to 100%. */
export function parseTrafficShare(text: string): number | undefined {
  const share = /^\d{1,3}(\.\d{1,2})?%$/.test(text) ? Math.round(Number.parseFloat(text) * 100) : 0;
  return share >= 1 && share <= 10_000 ? share : undefined;
}

/** Reads a share as it is written in a manifest. */
export function readTrafficShare(text: string): TextReading {
  if (parseTrafficShare(text) !== undefined) return { value: text };
  return { problem: "is no share of the traffic. Write a percentage from 0.01% to 100%: 1%, 12.5%, 50%" };
}

/** By what a client is known again. */
export type StickyKey =
  | { readonly by: "address" | "request" }
  | { readonly by: "header" | "cookie"; readonly name: string };

/** What a sticky key looks like, for editors. */
export const STICKY_PATTERN = "^(address|request|header:[a-z0-9-]+|cookie:[A-Za-z0-9_.-]+)$";

/** Reads "address", "request", "header:NAME" or "cookie:NAME"; undefined for anything else. */
export function parseSticky(text: string): StickyKey | undefined {
  if (!new RegExp(STICKY_PATTERN).test(text)) return undefined;
  const [by = "", name = ""] = text.split(":");
  return by === "header" || by === "cookie" ? { by, name } : { by: by as "address" | "request" };
}

/** Reads a sticky key as it is written in a manifest. */
export function readSticky(text: string): TextReading {
  if (parseSticky(text)) return { value: text };
  return { problem: "says nothing about clients. Write address, request, header:NAME in lower case, or cookie:NAME" };
}

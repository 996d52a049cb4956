import type { ServerResponse } from "node:http";

/** What every answer has at the platform's own host; pages say more. */
const FIELDS = {
  "x-content-type-options": "nosniff",
  // Without any referrer browsers say of forms that they come from nowhere ("Origin: null").
  "referrer-policy": "same-origin",
  "x-frame-options": "DENY",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  // The library adds the digest of its own script where it has one.
  "content-security-policy":
    "default-src 'none'; script-src; object-src 'none'; frame-ancestors 'none'; base-uri 'none'",
} as const;

/** Keeps browsers from framing an answer, running what is in it, guessing what it is, and telling others where it was. */
export function protectAnswer(response: ServerResponse): void {
  for (const [name, value] of Object.entries(FIELDS)) response.setHeader(name, value);
}

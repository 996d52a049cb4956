import { readDate } from "./calendar-date.ts";
import { readPathPrefix } from "./route-path.ts";
import type { SchemaNode } from "./schema-node.ts";

const PREFIX_PATTERN = "^(/[^/?#\\s{}*]+)+$";
const DATE_PATTERN = "^\\d{4}-\\d{2}-\\d{2}$";

/** Which of a service's versions a route stands for, and how long it will. */
export const routeVersion = {
  strip_prefix: {
    kind: "text",
    description: "This beginning of path is not told to the program, but for x-forwarded-prefix.",
    maxLength: 512,
    shape: "a path without variable segments, and without a slash at its end",
    pattern: PREFIX_PATTERN,
    read: readPathPrefix,
    defaultNote: "the program gets the path as it came",
    example: "/api/v1",
  },
  add_prefix: {
    kind: "text",
    description: "This is put before the path, after strip_prefix.",
    maxLength: 512,
    shape: "a path without variable segments, and without a slash at its end",
    pattern: PREFIX_PATTERN,
    read: readPathPrefix,
    defaultNote: "nothing",
    example: "/v2",
  },
  deprecated: {
    kind: "text",
    description: "Since when callers are to use something else: answers say so in deprecation (RFC 9745).",
    maxLength: 10,
    shape: "a date in quotes, year-month-day",
    pattern: DATE_PATTERN,
    read: readDate,
    defaultNote: "not said",
    example: '"2026-11-01"',
  },
  sunset: {
    kind: "text",
    description: "From when on there may be nothing here: answers say so in sunset (RFC 8594). Nothing ends by itself.",
    maxLength: 10,
    shape: "a date in quotes, year-month-day",
    pattern: DATE_PATTERN,
    read: readDate,
    defaultNote: "not said",
    example: '"2027-05-31"',
  },
  deprecation_link: {
    kind: "text",
    description: "Where people read what to use instead; said in link.",
    maxLength: 500,
    shape: "an address, http:// or https://",
    pattern: '^https?://[^\\s"<>\\\\^`{|}]+$',
    read: (text) =>
      /^https?:\/\/[!-~]+$/.test(text) && !/["<>\\^`{|}]/.test(text) && URL.canParse(text)
        ? { value: text }
        : { problem: "is no address. Write it whole, as in https://example.org/api/v2" },
    defaultNote: "none",
    example: "https://example.org/api/v2",
  },
  timeout: {
    kind: "duration",
    min: "10ms",
    max: "1h",
    description: "How long an answer may take to begin, instead of mesh.request_timeout.",
    defaultNote: "mesh.request_timeout",
    example: "5s",
  },
} as const satisfies Readonly<Record<string, SchemaNode>>;

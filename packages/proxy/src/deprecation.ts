import { hasField } from "./field-changes.ts";
import type { Deprecation } from "./route-rules.ts";

/** Lines with their ends and what tells callers of a route's future (RFC 9745, RFC 8594, RFC 8288), unless the service says so itself. */
export function withDeprecation(lines: string, { at, sunsetAt, link }: Deprecation): string {
  const deprecation = at === null || hasField(lines, "deprecation") ? "" : `deprecation: @${at}\r\n`;
  const isEndSaid = sunsetAt === null || hasField(lines, "sunset");
  const sunset = isEndSaid ? "" : `sunset: ${new Date(sunsetAt * 1000).toUTCString()}\r\n`;
  const relation = at === null ? "sunset" : "deprecation";
  const links = link === "" ? "" : `link: <${link}>; rel="${relation}"; type="text/html"\r\n`;
  return lines + deprecation + sunset + links;
}

import type { Deprecation } from "./route-rules.ts";

/** The fields that tell callers of a route's future, each with its line end (RFC 9745, RFC 8594, RFC 8288). */
export function deprecationFields({ at, sunsetAt, link }: Deprecation): string {
  const deprecation = at === null ? "" : `deprecation: @${at}\r\n`;
  const sunset = sunsetAt === null ? "" : `sunset: ${new Date(sunsetAt * 1000).toUTCString()}\r\n`;
  const links =
    link === "" ? "" : `link: <${link}>; rel="${at === null ? "sunset" : "deprecation"}"; type="text/html"\r\n`;
  return deprecation + sunset + links;
}

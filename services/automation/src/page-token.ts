import { invalidField } from "./errors.ts";

/** The run after which a page begins; undefined: at the newest. @throws HmsError INVALID_ARGUMENT */
export function readPageToken(token: string): string | undefined {
  if (token === "") return undefined;
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(token)) return token;
  throw invalidField(
    "page_token",
    "is none of this list: leave it out for the first page, or give the next_page_token of the page before.",
  );
}

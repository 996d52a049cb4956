import { HmsError } from "@hms/kernel";

/** Makes a token from the last row of a page; opaque to callers. */
export function pageToken(place: readonly string[]): string {
  return Buffer.from(JSON.stringify(place)).toString("base64url");
}

/** @throws HmsError INVALID_ARGUMENT if it is no token of ours. */
export function readPageToken(token: string): string[] | undefined {
  if (token === "") return undefined;
  try {
    const place: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    if (Array.isArray(place) && place.every((part) => typeof part === "string")) return place;
  } catch {
    // Falls through to the refusal.
  }
  throw new HmsError("INVALID_ARGUMENT", "page_token is not one that a list has answered with: begin without one.");
}

/** @throws HmsError INVALID_ARGUMENT unless it is 0 (the default) to `max`. */
export function pageSize(asked: number, usual: number, max: number): number {
  if (asked < 0 || asked > max) throw new HmsError("INVALID_ARGUMENT", `page_size is ${asked}: choose 1 to ${max}.`);
  return asked === 0 ? usual : asked;
}

import { HmsError } from "@hms/kernel";
import { isUuid } from "../uuid.ts";

/** The last operation of a page. */
export interface PagePlace {
  createdAt: Date;
  operationId: string;
}

/** Where the next page begins, as text. */
export function writePageToken({ createdAt, operationId }: PagePlace): string {
  return Buffer.from(`${createdAt.getTime()} ${operationId}`).toString("base64url");
}

/** Reads a page token; undefined for the first page. @throws HmsError INVALID_ARGUMENT if it is not one of ours */
export function readPageToken(token: string): PagePlace | undefined {
  if (token === "") return undefined;
  const [time = "", operationId = ""] = Buffer.from(token, "base64url").toString().split(" ");
  if (/^\d{1,15}$/.test(time) && isUuid(operationId)) return { createdAt: new Date(Number(time)), operationId };
  const description = "is not a token of an earlier page; leave it out to begin anew.";
  throw new HmsError("INVALID_ARGUMENT", `page_token ${description}`, {
    fieldViolations: [{ field: "page_token", description }],
  });
}

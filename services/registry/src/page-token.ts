import { createHash } from "node:crypto";
import { invalid } from "./errors.ts";

/** What a listing asks for; a token holds for the same question only. */
export interface Question {
  environment: string;
  pattern: string;
  metadata: Readonly<Record<string, string>>;
}

/** The last entry of a page. */
export interface PageEnd {
  serviceId: string;
  version: string;
}

function fingerprint({ environment, pattern, metadata }: Question): string {
  const labels = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256")
    .update(JSON.stringify([environment, pattern, labels]))
    .digest("base64url")
    .slice(0, 12);
}

/** Writes where the next page begins; callers pass it back unread. */
export function writePageToken(question: Question, { serviceId, version }: PageEnd): string {
  return Buffer.from(JSON.stringify([fingerprint(question), serviceId, version])).toString("base64url");
}

/**
 * Reads a token; undefined for the first page.
 * @throws HmsError INVALID_ARGUMENT if it is not one of ours or belongs to another question.
 */
export function readPageToken(question: Question, token: string): PageEnd | undefined {
  if (token === "") return undefined;
  const [mark, serviceId, version] = parse(token);
  if (typeof serviceId === "string" && typeof version === "string" && mark === fingerprint(question)) {
    return { serviceId, version };
  }
  const description = "belongs to another question or was changed; ask for the first page again, with an empty token.";
  throw invalid("The listing", [{ field: "page_token", description }]);
}

function parse(token: string): unknown[] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    return [];
  }
}

import { pageTokenUnknown } from "../errors.ts";

/** The last event of a page. */
export interface PagePlace {
  /** Microseconds since 1970. */
  readonly recordedAt: string;
  readonly shard: string;
  readonly seq: string;
}

/** Where the next page begins, as text. */
export function writePageToken({ recordedAt, shard, seq }: PagePlace): string {
  return Buffer.from(`${recordedAt} ${seq} ${shard}`).toString("base64url");
}

/** Reads a page token; undefined for the first page. @throws HmsError INVALID_ARGUMENT if it is not one of ours */
export function readPageToken(token: string): PagePlace | undefined {
  if (token === "") return undefined;
  const [, recordedAt, seq, shard] =
    /^(\d{1,18}) (\d{1,18}) (.+)$/s.exec(Buffer.from(token, "base64url").toString()) ?? [];
  if (recordedAt === undefined || seq === undefined || shard === undefined) throw pageTokenUnknown();
  return { recordedAt, shard, seq };
}

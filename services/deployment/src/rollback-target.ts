import { noRevision, noSuchTag, nothingToReturnTo } from "./errors.ts";
import type { RevisionRecord, ServiceRecord } from "./service-record.ts";

/** The revision with a tag. @throws HmsError NOT_FOUND */
export function taggedRevision(record: ServiceRecord, revisions: readonly RevisionRecord[], tag: string): number {
  const found = revisions.find((revision) => revision.tag === tag);
  if (found === undefined) throw noSuchTag(record, tag, revisions);
  return found.revision;
}

/** The revision to go back to: the one asked for, else the last that served well before the current one. */
export function rollbackTarget(
  record: ServiceRecord,
  revisions: readonly RevisionRecord[],
  asked: number,
): RevisionRecord {
  const good = revisions.filter(({ revision, outcome }) => outcome === "good" && revision !== record.currentRevision);
  if (asked === 0) {
    const before = good.filter(({ revision }) => revision < record.currentRevision || record.currentRevision === 0);
    const last = before.at(-1);
    if (last === undefined) throw nothingToReturnTo(record, good);
    return last;
  }
  const found = revisions.find(({ revision }) => revision === asked);
  if (found === undefined || found.releaseDigest === "") throw noRevision(record, asked, good);
  return found;
}

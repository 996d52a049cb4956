import type { RevisionRecord, ServiceRecord } from "../service-record.ts";

/** What is known of a service without the database: the record itself, and the revisions that it could go back to. */
export interface ServiceCopy {
  record: ServiceRecord;
  /** Oldest first. */
  revisions: RevisionRecord[];
}

/** A copy as plain JSON. */
export interface CopyForm {
  record: Omit<ServiceRecord, "revisions" | "deployedAt" | "running"> & {
    deployedAt?: string;
    running?: Omit<NonNullable<ServiceRecord["running"]>, "since"> & { since: string };
  };
  revisions: (Omit<RevisionRecord, "createdAt"> & { createdAt: string })[];
}

/** A copy in the form in which it is kept. */
export function copyForm({ record, revisions }: ServiceCopy): CopyForm {
  const { revisions: _, deployedAt, running, ...rest } = record;
  return {
    record: {
      ...rest,
      ...(deployedAt ? { deployedAt: deployedAt.toISOString() } : {}),
      ...(running ? { running: { ...running, since: running.since.toISOString() } } : {}),
    },
    revisions: revisions.map((revision) => ({ ...revision, createdAt: revision.createdAt.toISOString() })),
  };
}

/** The copy of a form. */
export function copyOf({ record, revisions: kept }: CopyForm): ServiceCopy {
  const { deployedAt, running, ...rest } = record;
  const revisions = kept.map(({ createdAt, secrets = {}, ...revision }) => ({
    ...revision,
    // Copies of versions that knew of no secrets have none.
    secrets,
    createdAt: new Date(createdAt),
  }));
  const bare: ServiceRecord = {
    ...rest,
    // JSON knows no undefined.
    split: rest.split,
    scaledTo: rest.scaledTo,
    deployedAt: deployedAt === undefined ? undefined : new Date(deployedAt),
    running: running && { ...running, since: new Date(running.since) },
    revisions: new Map(),
  };
  return { record: withRevisionsInUse(bare, revisions), revisions };
}

/** A record with the revisions that are in use, and those of these numbers beside them. */
export function withRevisionsInUse(
  record: ServiceRecord,
  revisions: readonly RevisionRecord[],
  also: readonly number[] = [],
): ServiceRecord {
  const { currentRevision, trafficRevision, replicas } = record;
  const used = new Set([currentRevision, trafficRevision, ...replicas.map(({ revision }) => revision), ...also]);
  const found = revisions.filter(({ revision }) => used.has(revision));
  return { ...record, revisions: new Map(found.map((each) => [each.revision, each])) };
}

/** As many revisions that served well are known, newest first, beside those in use. */
export const KNOWN_GOOD = 6;

/** Revisions with news of some of them, as far as they are worth knowing. */
export function mergedRevisions(known: readonly RevisionRecord[], news: Iterable<RevisionRecord>): RevisionRecord[] {
  const fresh = new Map([...news].map((each) => [each.revision, each]));
  const all = [...known.filter(({ revision }) => !fresh.has(revision)), ...fresh.values()];
  all.sort((a, b) => a.revision - b.revision);
  const good = new Set(all.filter(({ outcome }) => outcome === "good").slice(-KNOWN_GOOD));
  const kept = all.filter((each) => good.has(each) || fresh.has(each.revision));
  // The newest revision with a tag has it.
  return kept.map((each, index) => {
    const isTaken = each.tag !== "" && kept.slice(index + 1).some(({ tag }) => tag === each.tag);
    return isTaken ? { ...each, tag: "" } : each;
  });
}

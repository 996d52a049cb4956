import { parseManifest } from "@hms/manifest";
import { describe, expect, test } from "vitest";
import type { ReplicaRecord, RevisionRecord, ServiceRecord } from "../service-record.ts";
import { chooseRollback } from "./choose-rollback.ts";
import { copyOf } from "./service-copy.ts";

const key = { environment: "default", service: "shop" };
const now = new Date(1_700_000_000_000);

const revision = (number: number, outcome: RevisionRecord["outcome"], tag = ""): RevisionRecord => ({
  revision: number,
  manifest: parseManifest(`name: shop\nversion: "${number}.0"\nrun: {command: x}\n`),
  sourceDirectory: "/src",
  releaseDigest: `sha256:${number}`,
  outcome,
  secrets: {},
  createdAt: now,
  tag,
});

const replica = (of: number, ordinal: number, traffic: ReplicaRecord["traffic"] = "active"): ReplicaRecord => ({
  id: `default/shop/${of}/${ordinal}-abcdef`,
  revision: of,
  ordinal,
  phase: "running",
  traffic,
  proven: "1.0",
});

function wish(
  record: Partial<ServiceRecord>,
  more: { revision?: bigint; tag?: string; reason?: string; ready?: string[] } = {},
) {
  const replicas = record.replicas ?? [replica(2, 1), replica(2, 2)];
  const whole: ServiceRecord = {
    ...key,
    owner: "user:anna",
    currentRevision: 2,
    trafficRevision: 2,
    split: undefined,
    wanted: 2,
    scaledTo: undefined,
    asleep: false,
    deployedAt: now,
    revisions: new Map(),
    running: undefined,
    ...record,
    replicas,
  };
  const revisions = [revision(1, "good", "v1"), revision(2, "good"), revision(3, "")];
  const { revision: asked = 0n, tag = "", reason = "", ready = replicas.map(({ id }) => id) } = more;
  const copy = { record: whole, revisions };
  const file = "/data/kept/x.spool";
  const request = { revision: asked, tag, reason };
  return { request, principal: "operator", rolloutId: "abcdefgh", copy, ready: new Set(ready), file, now };
}

describe("a rollback without the database", () => {
  test("leads to the last revision that served well, and says where it is kept", () => {
    const head = chooseRollback(wish({}, { reason: "it is bad" }));
    expect(head).toMatchObject({
      planned: { revision: 1, previousRevision: 2, phase: "planned" },
      version: "1.0",
      givesUp: [],
    });
    expect(head.reason).toBe("it is bad (rolled back while the database was away)");
    expect(JSON.stringify(head.event)).toContain("The database is away. This rollback is kept in /data/kept/x.spool");
  });

  test("leads to the revision or tag that is asked for, and refuses what is not there", () => {
    const back = { currentRevision: 1, trafficRevision: 1, replicas: [replica(1, 1)] };
    expect(chooseRollback(wish(back, { revision: 2n })).planned.revision).toBe(2);
    expect(chooseRollback(wish({}, { tag: "v1" })).planned.revision).toBe(1);
    expect(() => chooseRollback(wish({}, { revision: 9n }))).toThrow(/no revision 9 to go back to/);
    expect(() => chooseRollback(wish(back))).toThrow(/No revision of "shop" before the current one served well/);
  });

  test("gives up what a deploy under way has brought, and gives its traffic back to what served before", () => {
    const running = { rolloutId: "deploy00", kind: "deploy", phase: "baking", since: now } as const;
    const replicas = [replica(2, 1), replica(2, 2, "draining"), replica(3, 1), replica(3, 2, "none")];
    const head = chooseRollback(wish({ replicas, running, split: { revision: 3, share: 5000 } }));
    expect(head.planned).toMatchObject({ revision: 2, previousRevision: 2 });
    expect(head.givesUp).toEqual([replicas[2]?.id, replicas[3]?.id]);
    const { record } = copyOf(head.copy);
    expect(record).toMatchObject({
      trafficRevision: 2,
      split: undefined,
      running: { rolloutId: "abcdefgh", kind: "rollback" },
    });
    expect(record.replicas.map(({ traffic }) => traffic)).toEqual(["active", "active", "draining", "none"]);
    expect(JSON.stringify(head.event)).toContain("It takes the place of rollout deploy00 (deploy)");
  });

  test("keeps what a deploy has brought as long as nothing else is there to serve", () => {
    const replicas = [replica(2, 1), replica(3, 1)];
    const head = chooseRollback(wish({ replicas, trafficRevision: 3 }, { ready: [replica(3, 1).id] }));
    expect(head.givesUp).toEqual([]);
    const { record } = copyOf(head.copy);
    expect(record).toMatchObject({ trafficRevision: 3 });
    expect(record.replicas.map(({ traffic }) => traffic)).toEqual(["active", "active"]);
  });

  test.each(["stop", "remove"] as const)("does not take the place of a %s", (kind) => {
    const running = { rolloutId: "ending00", kind, phase: "draining", since: now } as const;
    expect(() => chooseRollback(wish({ running }))).toThrow(/it goes on when the database is back/);
  });

  test("survives being written down", () => {
    const { copy } = wish({ running: { rolloutId: "x", kind: "scale", phase: "scaling", since: now }, scaledTo: 3 });
    const head = chooseRollback({ ...wish({}), copy });
    expect(copyOf(JSON.parse(JSON.stringify(head.copy)))).toEqual(copyOf(head.copy));
    expect(copyOf(head.copy).record).toMatchObject({ scaledTo: 3, deployedAt: now });
  });
});

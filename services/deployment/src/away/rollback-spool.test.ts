import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseManifest } from "@hms/manifest";
import { afterEach, beforeEach, expect, test } from "vitest";
import { transition } from "../rollout-machine.ts";
import type { RolloutInput } from "../rollout-state.ts";
import type { ServiceRecord } from "../service-record.ts";
import { oldReplicas, planned, policy, success } from "../testing/rollout-fixtures.ts";
import { RollbackSpool, type SpoolHead, spoolHead } from "./rollback-spool.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hms-spool-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const state = { ...planned("rollback"), revision: 1, previousRevision: 2 };
const createdAt = new Date(0);

function head(): SpoolHead {
  const replicas = oldReplicas(2).map((each) => ({ ...each, revision: 2, phase: "running" as const, proven: "1.0" }));
  const record: ServiceRecord = {
    ...{ environment: "default", service: "a", owner: "", currentRevision: 2, trafficRevision: 2, wanted: 2 },
    ...{ split: undefined, scaledTo: undefined, asleep: false, deployedAt: undefined, running: undefined },
    replicas,
    revisions: new Map(),
  };
  const revisions = [1, 2].map((revision) => ({
    ...{
      revision,
      sourceDirectory: "/",
      releaseDigest: `sha256:${revision}`,
      tag: "",
      outcome: "good" as const,
      secrets: {},
      createdAt,
    },
    manifest: parseManifest(`name: a\nversion: "${revision}"\nrun: {command: x}\n`),
  }));
  return spoolHead({
    ...{
      rolloutId: state.rolloutId,
      environment: "default",
      service: "a",
      principal: "operator",
      reason: "",
      version: "1",
    },
    ...{
      startedAt: new Date(0).toISOString(),
      copy: { record, revisions },
      planned: state,
      event: { planned: {} },
      givesUp: [],
    },
  });
}

/** Carries a rollback out whose effects all succeed; answers with what was known after each record. */
async function carriedOut(file: string) {
  const spool = RollbackSpool.begin(file, head());
  const seen = [shownOf(spool)];
  const ready = new Set<string>();
  for (let turn = 0; !spool.hasEnded; turn += 1) {
    await spool.turn({ turn }, (scene) => {
      const { doing } = scene.state;
      if (doing?.kind === "verify") for (const id of doing.ids) ready.add(id);
      const existing = oldReplicas(2).map((each) => ({ ...each, revision: 2 }));
      const grant = {
        revision: 1,
        previousRevision: 2,
        trafficRevision: 2,
        policy: policy({ release: "find" }),
        existing,
      };
      const input: RolloutInput = doing ? success(doing) : { type: "locked", grant };
      return transition(scene.state, input, { now: turn, ready });
    });
    seen.push(shownOf(spool));
    const [first] = spool.copy.record.replicas;
    if (turn === 3 && first) {
      spool.noteProven(first.id, "7.0");
      seen.push(shownOf(spool));
    }
  }
  spool.close();
  return seen;
}

const shownOf = ({ row, copy }: RollbackSpool) =>
  JSON.parse(JSON.stringify({ row, record: copy.record, revisions: copy.revisions }));

test("a spool that was cut off anywhere goes on from its last whole record", async () => {
  const file = join(folder, "one.spool");
  const seen = await carriedOut(file);
  expect(seen.length).toBeGreaterThan(10);
  expect(seen.at(-1)).toMatchObject({
    row: { phase: "succeeded" },
    record: { currentRevision: 1, trafficRevision: 1, wanted: 2 },
    revisions: [{ outcome: "good" }, { outcome: "bad" }],
  });
  const bytes = readFileSync(file);
  const ends = [...bytes.entries()].filter(([, byte]) => byte === 0x0a).map(([at]) => at + 1);
  expect(ends).toHaveLength(seen.length);
  for (const [index, end] of ends.entries()) {
    for (const length of [end, end + 1, end + 40]) {
      writeFileSync(file, bytes.subarray(0, Math.min(length, (ends[index + 1] ?? end + 1) - 1)));
      const spool = RollbackSpool.open(file);
      expect(spool && shownOf(spool)).toEqual(seen[index]);
      spool?.close();
    }
  }
});

test("a spool whose first record is not whole never began, and is taken away", () => {
  const file = join(folder, "one.spool");
  RollbackSpool.begin(file, head()).close();
  writeFileSync(file, readFileSync(file).subarray(0, 100));
  expect(RollbackSpool.open(file)).toBeUndefined();
  expect(() => readFileSync(file)).toThrow(/ENOENT/);
});

test("a rollback that cannot be written down does not begin", () => {
  writeFileSync(join(folder, "taken"), "");
  expect(() => RollbackSpool.begin(join(folder, "taken/one.spool"), head())).toThrow(/cannot be written/);
});

test("a transition that another has made already is answered with what that led to", async () => {
  const spool = RollbackSpool.begin(join(folder, "one.spool"), head());
  const refused = { type: "refused", failure: { reason: "no", remedy: "" } } as const;
  const decide = () => transition(state, refused, { now: 0, ready: new Set<string>() });
  const first = await spool.turn({ turn: 0 }, decide);
  expect(await spool.turn({ turn: 0 }, () => expect.unreachable())).toEqual(first);
  await expect(spool.turn({ turn: 5 }, decide)).rejects.toMatchObject({ code: "ABORTED" });
  expect(await spool.claim()).toEqual({ granted: false, ended: true });
  spool.close();
});

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deployment } from "@hms/contracts";
import { casesOf, startTestPostgres, tempInstance, waitFor } from "@hms/testkit";
import { beforeEach, expect, test } from "vitest";
import { stepUnderWay } from "../testing/step-under-way.ts";
import { openGround, openServer, outcomeOf } from "../testing/test-site.ts";

const { RolloutState, RolloutKind } = deployment;
/** A killed server keeps what it has committed, a machine without power would not. */
const settings = "fsync = off\n";
const service = { environment: "default", service: "echo" };

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
  return () => stack.disposeAsync();
});

async function openMortalGround() {
  const kept = mkdtempSync(join(tmpdir(), "hms-kept-"));
  stack.defer(() => rmSync(kept, { recursive: true }));
  const { paths } = stack.use(tempInstance());
  const postgres = await startTestPostgres(paths, { settings });
  const ground = stack.use(await openGround({ source: postgres.source, kept }));
  const left = () => readdirSync(join(kept, "deployment/rollbacks"));
  return {
    ground,
    kill: () => postgres.kill(),
    bringBack: async () => void stack.use(await startTestPostgres(paths, { settings })),
    isTakenIn: () =>
      waitFor(() => left().length === 0, { deadlineMs: 20_000, describe: "the rollback to be taken in" }),
  };
}

test("a rollback in the middle of a canary gives it up, if PostgreSQL is dead; of two at once one wins", async () => {
  const { ground, kill, bringBack, isTakenIn } = await openMortalGround();
  const { client } = stack.use(await openServer(ground));
  const { plane, agent, program } = ground;
  await outcomeOf(client.deploy(program.write({ version: "1" })));
  plane.load(5);
  const manifest = "rollout: {strategy: canary, promote: manual, steps: [{share: 50%}]}\n";
  const deploying = outcomeOf(client.deploy(program.write({ version: "2", manifest })));
  await stepUnderWay(client, /^Waiting at 50 %/);
  await kill();
  const both = await Promise.allSettled([1, 2].map(() => outcomeOf(client.rollback(service))));
  expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  const refused = both.find((each) => each.status === "rejected");
  expect(refused?.reason).toMatchObject({ code: "ABORTED", details: { reason: "ROLLOUT_LOCKED" } });
  const won = both.find((each) => each.status === "fulfilled");
  expect(won?.value.ended).toMatchObject({ state: RolloutState.SUCCEEDED, revision: 1n });
  expect(plane.active.map(({ revision }) => revision)).toEqual([1n, 1n]);
  expect(plane.entry?.split).toBeUndefined();
  await waitFor(() => agent.running().length === 2, { describe: "what was given up to end" });
  expect(agent.running().every((id) => id.startsWith("default/echo/1/"))).toBe(true);
  await bringBack();
  await isTakenIn();
  const { rollouts } = await client.listRollouts(service);
  expect(rollouts).toMatchObject([
    { kind: RolloutKind.ROLLBACK, state: RolloutState.SUCCEEDED, revision: 1n },
    { state: RolloutState.ROLLED_BACK, revision: 2n, failureReason: expect.stringContaining("took the place of this") },
    { state: RolloutState.SUCCEEDED, revision: 1n },
  ]);
  expect((await deploying).ended.state).toBe(RolloutState.ROLLED_BACK);
  expect(await plane.stopLoad()).toEqual([]);
}, 120_000);

// On a whole installation, with SIGKILL: test/system/rollback-away.faults.ts.
const NEXT = "a rollback goes on in the next server while PostgreSQL is dead still, and the one after it enters it";

test.each(casesOf([NEXT], () => false))(
  "%s",
  async () => {
    const { ground, kill, bringBack, isTakenIn } = await openMortalGround();
    const { plane, agent, program } = ground;
    let rolloutId = "";
    {
      await using server = await openServer(ground);
      for (const version of ["1", "2"]) await outcomeOf(server.client.deploy(program.write({ version })));
      plane.load(5);
      await kill();
      for await (const event of server.client.rollback({ ...service, reason: "bad" })) {
        rolloutId = event.rolloutId;
        if (event.event.case === "stepStarted" && event.event.value.title.startsWith("Sending traffic")) break;
      }
    }
    {
      await using server = await openServer(ground, { isReady: false });
      const { ended, events } = await outcomeOf(server.client.watchRollout({ rolloutId }));
      expect(ended).toMatchObject({ state: RolloutState.SUCCEEDED, revision: 1n });
      expect(events.map(({ sequence }) => Number(sequence))).toEqual(events.map((_, index) => index + 1));
      const { service: shown, notice } = await server.client.getService(service);
      expect(shown).toMatchObject({ revision: 1n, replicasReady: 2 });
      expect(notice).toMatch(/not in the history yet/);
      const again = server.client.rollback(service)[Symbol.asyncIterator]().next();
      await expect(again).rejects.toMatchObject({ details: { reason: "NO_GOOD_REVISION" } });
    }
    await bringBack();
    await using server = await openServer(ground);
    await isTakenIn();
    const { ended } = await outcomeOf(server.client.watchRollout({ rolloutId }));
    expect(ended.state).toBe(RolloutState.SUCCEEDED);
    const { rollouts } = await server.client.listRollouts(service);
    expect(rollouts[0]).toMatchObject({ rolloutId, reason: "bad (rolled back while the database was away)" });
    expect(await server.client.getService(service)).toMatchObject({
      service: { revision: 1n, replicasReady: 2 },
      notice: "",
    });
    expect(agent.running()).toHaveLength(2);
    expect(await plane.stopLoad()).toEqual([]);
  },
  120_000,
);

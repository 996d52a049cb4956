import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import { contractMessage, openEventLog, openOutbox } from "@hms/events";
import { openTestDatabase } from "@hms/testkit";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { deploymentComponents, deploymentMigrations } from "./index.ts";
import { RolloutNews } from "./rollout-news.ts";
import type { DeploymentTables } from "./tables.ts";
import { planned } from "./testing/rollout-fixtures.ts";
import { stepUnderWay } from "./testing/step-under-way.ts";
import { deploymentHost, openSite, outcomeOf } from "./testing/test-site.ts";

const { RolloutState } = deployment;
const echo = { environment: "default", service: "echo" };

afterAll(() => deploymentHost[Symbol.asyncDispose]());

let site: Awaited<ReturnType<typeof openSite>>;
beforeEach(async () => {
  site = await openSite();
});
afterEach(() => site[Symbol.asyncDispose]());

const history = async () => (await site.client.listRollouts({ ...echo, withChanges: true })).rollouts;

describe("what a plan was made for is what is deployed, or nothing", () => {
  test("an unchanged world is deployed; another program, manifest or revision is told and refused", async () => {
    const first = site.program.write({ version: "1", replicas: 1 });
    const { planId } = await site.client.plan(first);
    expect(planId).toMatch(/^0\.[0-9a-f]{12}\.[0-9a-f]{12}$/);
    expect((await outcomeOf(site.client.deploy({ ...first, planId }))).ended.state).toBe(RolloutState.SUCCEEDED);
    const outdated = { code: "FAILED_PRECONDITION", details: { reason: "PLAN_OUTDATED" } };
    await expect(outcomeOf(site.client.deploy({ ...first, planId }))).rejects.toMatchObject({
      ...outdated,
      message: expect.stringContaining("revision 1 serves now, and the plan was made for 0"),
    });
    const second = site.program.write({ version: "2", replicas: 1 });
    const plan = await site.client.plan(second);
    site.program.write({ version: "2", replicas: 1, each: "response.setHeader('x-a', '1');" });
    await expect(outcomeOf(site.client.deploy({ ...second, planId: plan.planId }))).rejects.toMatchObject({
      ...outdated,
      message: expect.stringContaining("the program's files are others"),
    });
    const third = site.program.write({ version: "3", replicas: 1 });
    await expect(outcomeOf(site.client.deploy({ ...third, planId: plan.planId }))).rejects.toMatchObject({
      ...outdated,
      message: expect.stringContaining(
        "the manifest, or a variable or secret in it, is another; the program's files are others",
      ),
    });
    await expect(outcomeOf(site.client.deploy({ ...third, planId: "7" }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    expect(await history()).toHaveLength(1);
  });
});

describe("the history", () => {
  test("says who, why, by which name, and what changed; a tag leads back", async () => {
    const deploy = async (version: string, more: object) =>
      outcomeOf(
        site.client.deploy({ ...site.program.write({ version, replicas: 1, manifest: MORE[version] ?? "" }), ...more }),
      );
    await deploy("1", { tag: "stable", reason: "first of all" });
    await deploy("2", { tag: "beta" });
    await deploy("3", { tag: "beta", reason: "ticket 12" });
    const [third, second, first] = await history();
    expect(third).toMatchObject({ reason: "ticket 12", tag: "beta", changes: [expect.anything(), expect.anything()] });
    expect(third?.changes.map(({ key, after }) => [key, after])).toEqual([
      ["version", "3"],
      ["rollout.drain_timeout", "5s"],
    ]);
    expect(second).toMatchObject({ reason: "", tag: "" });
    expect(first).toMatchObject({ reason: "first of all", tag: "stable" });
    const back = await outcomeOf(site.client.rollback({ ...echo, tag: "stable", reason: "too slow" }));
    expect(back.ended).toMatchObject({ state: RolloutState.SUCCEEDED, revision: 1n });
    expect((await history())[0]).toMatchObject({ reason: "too slow", tag: "stable", revision: 1n });
    await expect(outcomeOf(site.client.rollback({ ...echo, tag: "gamma" }))).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining("There are: stable, beta."),
    });
    const wordy = { ...echo, reason: "x".repeat(501) };
    for (const asked of [
      site.client.scale({ ...wordy, replicas: 2 }),
      site.client.stop(wordy),
      site.client.restart(wordy),
    ]) {
      await expect(outcomeOf(asked)).rejects.toMatchObject({ details: { fieldViolations: [{ field: "reason" }] } });
    }
    await expect(outcomeOf(site.client.restart({ ...echo, reason: "a\0b" }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("reason: It has a NUL character (U+0000)"),
    });
    await expect(deploy("4", { tag: "a b", reason: "x".repeat(501) })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { fieldViolations: [{ field: "reason" }, { field: "tag" }] },
    });
  });
  const MORE: Record<string, string> = { "3": "rollout: {drain_timeout: 5s}" };
});

describe("retrying", () => {
  test("takes the revision and the release of what failed, and not what lies in the folder by now", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    await expect(outcomeOf(site.client.retry(echo))).rejects.toMatchObject({
      details: { reason: "NOTHING_TO_RETRY" },
      message: expect.stringContaining("succeeded"),
    });
    // It fails as long as the file is there.
    const before = `if (require("node:fs").existsSync("${site.program.directory}/broken")) process.exit(3);`;
    site.program.mark("broken");
    const failed = await site.deploy({ version: "2", replicas: 1, before });
    expect(failed.ended.state).toBe(RolloutState.ROLLED_BACK);
    site.program.write({ version: "2", replicas: 1, before, each: "response.setHeader('x-other', '1');" });
    site.program.unmark("broken");
    const again = await outcomeOf(site.client.retry({ ...echo, reason: "the disk is back" }));
    expect(again.ended).toMatchObject({ state: RolloutState.SUCCEEDED, revision: 2n });
    expect(again.titles[0]).toMatch(/^Release of revision 2 is there/);
    const [last, first] = await history();
    expect(last).toMatchObject({ reason: "the disk is back", revision: 2n });
    expect(last?.releaseDigest).toBe(first?.releaseDigest);
  });
});

describe("what waits behind somebody's canary", () => {
  const canary = "rollout: {strategy: canary, promote: manual, steps: [{share: 50%}]}";
  /** Begins to follow a rollout, and resolves once it waits; answers with how it ends. */
  async function queued(events: AsyncIterable<deployment.RolloutEvent>) {
    const waits = Promise.withResolvers<void>();
    const passedOn = async function* () {
      for await (const event of events) {
        if (event.event.case === "waiting") waits.resolve();
        yield event;
      }
    };
    const ending = outcomeOf(passedOn());
    await Promise.race([waits.promise, ending]);
    return { ending };
  }

  test("and was decided for the revision before it changes nothing if the canary succeeds, and says why", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    await site.deploy({ version: "2", replicas: 1 });
    const deploying = site.deploy({ version: "3", replicas: 1, manifest: canary });
    await stepUnderWay(site.client, /^Waiting at 50 %/);
    const restart = await queued(site.client.restart({ ...echo, newSecrets: true }));
    const back = await queued(site.client.rollback({ ...echo, revision: 1n, expectedRevision: 2n }));
    const stop = await queued(site.client.stop({ ...echo, expectedRevision: 2n }));
    await site.client.promote({ ...echo, full: true });
    expect((await deploying).ended.state).toBe(RolloutState.SUCCEEDED);
    for (const { ending } of [restart, back, stop]) {
      const { ended } = await ending;
      expect(ended).toMatchObject({ state: RolloutState.ROLLED_BACK, revision: 3n });
      expect(ended.failure?.reason).toBe(
        '"echo" is at revision 3 by now, and this was asked for revision 2: nothing was changed.',
      );
    }
    expect(site.plane.active.map(({ revision }) => revision)).toEqual([3n]);
    const changed = { code: "FAILED_PRECONDITION", details: { reason: "CHANGED_SINCE" } };
    await expect(outcomeOf(site.client.retry(echo))).rejects.toMatchObject(changed);
    const late = site.client.rollback({ ...echo, expectedRevision: 2n });
    await expect(outcomeOf(late)).rejects.toMatchObject(changed);
    expect((await outcomeOf(site.client.rollback({ ...echo, expectedRevision: 3n }))).ended.revision).toBe(2n);
  });

  test("goes on as it was decided if the canary is taken back", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    const deploying = site.deploy({ version: "2", replicas: 1, manifest: canary });
    await stepUnderWay(site.client, /^Waiting at 50 %/);
    const restart = await queued(site.client.restart({ ...echo, newSecrets: true }));
    await site.client.abort(echo);
    expect((await deploying).ended.state).toBe(RolloutState.ROLLED_BACK);
    expect((await restart.ending).ended).toMatchObject({ state: RolloutState.SUCCEEDED, revision: 3n });
  });

  test("does not begin in a freeze that has begun meanwhile; one that may goes on", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    const deploying = site.deploy({ version: "2", replicas: 1, manifest: canary });
    await stepUnderWay(site.client, /^Waiting at 50 %/);
    const next = await queued(site.client.deploy(site.program.write({ version: "3", replicas: 1 })));
    const forced = { ...site.program.write({ version: "4", replicas: 1 }), overrideFreeze: true };
    const last = await queued(site.client.deploy(forced));
    const until = timestampFromMs(Date.now() + 3_600_000);
    await site.client.freeze({ ...echo, until, reason: "Black Friday" });
    await site.client.promote({ ...echo, full: true });
    expect((await deploying).ended.state).toBe(RolloutState.SUCCEEDED);
    const { ended } = await next.ending;
    expect(ended).toMatchObject({ state: RolloutState.ROLLED_BACK, revision: 2n });
    expect(ended.failure?.reason).toMatch(
      /^Its turn came too late: .* has stopped deploys of "echo".*: Black Friday\.$/,
    );
    expect(ended.failure?.remedy).toContain("--override-freeze");
    expect((await last.ending).ended).toMatchObject({ state: RolloutState.SUCCEEDED, revision: 4n });
  });
});

describe("a freeze", () => {
  const inAnHour = () => timestampFromMs(Date.now() + 3_600_000);

  test("refuses deploys of one service or of all, says who, until when and why, and holds up no way back", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    await site.deploy({ version: "2", replicas: 1 });
    const { freeze } = await site.client.freeze({ ...echo, until: inAnHour(), reason: "Black Friday" });
    expect(freeze).toMatchObject({ ...echo, reason: "Black Friday", by: expect.stringMatching(/:/) });
    await expect(site.deploy({ version: "3", replicas: 1 })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: { reason: "FROZEN" },
      message: expect.stringMatching(/has stopped deploys of "echo" until 20.*: Black Friday\..*--override-freeze/),
    });
    expect((await outcomeOf(site.client.restart(echo))).ended.state).toBe(RolloutState.SUCCEEDED);
    expect((await outcomeOf(site.client.rollback(echo))).ended.revision).toBe(1n);
    expect((await site.deploy({ version: "3", replicas: 1 }, { overrideFreeze: true })).ended.revision).toBe(3n);
    expect(await site.client.unfreeze(echo)).toMatchObject({ ended: true });
    expect(await site.client.unfreeze(echo)).toMatchObject({ ended: false });
    await site.client.freeze({ environment: "default", until: inAnHour(), reason: "audit" });
    expect((await site.client.listFreezes({})).freezes).toMatchObject([{ service: "", reason: "audit" }]);
    await expect(site.deploy({ version: "4", replicas: 1 })).rejects.toMatchObject({
      message: expect.stringContaining('the environment "default"'),
    });
    await expect(site.client.freeze({ ...echo, until: timestampFromMs(0) })).rejects.toMatchObject({
      details: { fieldViolations: [{ field: "until" }, { field: "reason" }] },
    });
  });

  test("is not needed where the manifest has windows", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    const day = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][(new Date().getUTCDay() + 3) % 7];
    const manifest = `rollout: {windows: ['${day} 10:00-10:30']}`;
    await expect(site.deploy({ version: "2", replicas: 1, manifest })).rejects.toMatchObject({
      details: { reason: "OUTSIDE_WINDOW" },
      message: expect.stringMatching(/the next one opens at 20\d\d-.*T10:00:00\.000Z/),
    });
    const forced = await site.deploy({ version: "2", replicas: 1, manifest }, { overrideFreeze: true });
    expect(forced.ended.state).toBe(RolloutState.SUCCEEDED);
  });
});

test("each step of a rollout is on the bus in its order, with the transaction that it is true in, and once", async () => {
  const options = { service: "deployment", migrations: deploymentMigrations, components: deploymentComponents };
  await using own = await openTestDatabase<DeploymentTables>(options);
  await using log = await openEventLog({ source: own.source });
  await using outbox = await openOutbox({ log, database: own.database });
  const news = new RolloutNews(outbox);
  const seen: string[] = [];
  await using _heard = await log.subscribe(
    { topics: ["hms.sys.deployment.**"], group: "test", from: "start" },
    async (event) => {
      const changed = contractMessage(deployment.RolloutChangedSchema, event);
      seen.push(`${event.type} ${changed.turn} ${changed.reason} ${event.subject}`);
    },
  );
  const step = (turn: number) => ({ state: planned("deploy"), turn, principal: "anna", reason: "why" });
  for (const turn of [0, 1, 1, 2]) await own.database.transaction((trx) => news.tell(trx, step(turn)));
  const undone = own.database.transaction(async (trx) => {
    await news.tell(trx, step(3));
    throw new Error("undone");
  });
  await expect(undone).rejects.toThrow("undone");
  await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(3);
  expect(seen).toEqual([0, 1, 2].map((turn) => `hms.sys.deployment.rollout.planned ${turn} why default/a`));
});

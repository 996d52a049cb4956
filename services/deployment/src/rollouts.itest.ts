import { deployment, mesh } from "@hms/contracts";
import { machineSlowness, waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { deploymentHost, openSite, outcomeOf } from "./testing/test-site.ts";

const { RolloutState, ServiceHealth } = deployment;
const echo = { environment: "default", service: "echo" };

afterAll(() => deploymentHost[Symbol.asyncDispose]());

let site: Awaited<ReturnType<typeof openSite>>;
beforeEach(async () => {
  site = await openSite();
});
afterEach(async () => {
  await site[Symbol.asyncDispose]();
});

describe("a deploy", () => {
  test("of a new version under load fails no request", async () => {
    await site.deploy({ version: "1", replicas: 3 });
    site.plane.load(3);
    const { ended } = await site.deploy({ version: "2", replicas: 3 });
    expect(ended.state).toBe(RolloutState.SUCCEEDED);
    expect(await site.plane.stopLoad()).toEqual([]);
    expect(site.plane.active.every(({ revision }) => revision === 2n)).toBe(true);
    expect(site.agent.running()).toHaveLength(3);
    expect(site.plane.answers.at(-1)?.version).toBe("2");
    // At no time less capacity than before.
    const pictures = site.plane.pictures.slice(site.plane.pictures.findIndex((picture) => picture.length >= 3));
    const active = pictures.map((picture) => picture.filter(({ state }) => state === mesh.EndpointState.ACTIVE).length);
    expect(Math.min(...active)).toBeGreaterThanOrEqual(3);
  });

  test("of a version that never becomes healthy gives it no traffic and says why", async () => {
    await site.deploy({ version: "good" });
    site.plane.load(5);
    const sick =
      'http.createServer((q, r) => { r.statusCode = 503; r.end("warming up for ever"); }).listen(Number(process.env.PORT), "127.0.0.1"); console.log("I am sick"); return;';
    const manifest = "rollout: {deadline: 5s}\n";
    const { ended, titles } = await site.deploy({ version: "sick", before: sick, manifest });
    expect(ended.state).toBe(RolloutState.ROLLED_BACK);
    expect(ended.failure?.reason).toMatch(/^Replica 2\/1-\w+ was not healthy within/);
    expect(ended.failure?.lastProbe).toBe("HTTP 503 Service Unavailable: warming up for ever");
    expect(ended.failure?.lastLogLines.map(({ text }) => text)).toEqual(["I am sick"]);
    expect(ended.failure?.remedy).toContain("GET /healthz");
    expect(ended.failure?.changes).toMatchObject([
      { key: "version", before: "good", after: "sick" },
      { key: "rollout.deadline" },
    ]);
    expect(titles.some((title) => title.startsWith("✗ Waiting for replica 1/2"))).toBe(true);
    expect(await site.plane.stopLoad()).toEqual([]);
    expect(site.plane.pictures.flat().some(({ revision }) => revision === 2n)).toBe(false);
    expect(site.agent.running()).toHaveLength(2);
  });

  test("of a version that crashes fails with its exit code long before the deadline", async () => {
    await site.deploy({ version: "good" });
    const began = performance.now();
    const { ended } = await site.deploy({
      version: "bad",
      before: 'console.log("no database today"); process.exit(17);',
    });
    const tookMs = performance.now() - began;
    expect(tookMs).toBeLessThan(3500 * (await machineSlowness()));
    expect(ended.failure).toMatchObject({ exit: { code: 17 }, reason: expect.stringContaining("exit code 17") });
    expect(ended.failure?.lastLogLines.at(-1)?.text).toBe("no database today");
    expect(site.agent.running()).toHaveLength(2);
  });

  test("that is the first and fails leaves nothing behind", async () => {
    const { ended } = await site.deploy({ version: "bad", before: "process.exit(1);" });
    expect(ended).toMatchObject({ state: RolloutState.ROLLED_BACK, revision: 0n, serviceUrls: [] });
    expect(site.agent.running()).toEqual([]);
    const { content } = await site.mesh.getSnapshot({});
    expect(content?.services).toEqual([]);
    const { service } = await site.client.getService(echo);
    expect(service).toMatchObject({ revision: 0n, health: ServiceHealth.DOWN });
  });

  test("over a version that has broken down in the meantime goes direct", async () => {
    const dies = `require("node:fs").existsSync("/tmp/hms-dead-" + process.env.MARK) && process.exit(3);`;
    const mark = String(process.pid);
    const manifest = `env: {MARK: "${mark}"}\n`;
    await site.deploy({ version: "1", before: dies, manifest });
    const { writeFileSync, rmSync } = await import("node:fs");
    writeFileSync(`/tmp/hms-dead-${mark}`, "");
    try {
      for (const id of site.agent.running()) process.kill(site.agent.pidOf(id), "SIGKILL");
      await waitFor(async () => (await site.client.getService(echo)).service?.health === ServiceHealth.DOWN, {
        describe: "the service to be down",
      });
      const { ended, events } = await site.deploy({ version: "2" });
      expect(ended.state).toBe(RolloutState.SUCCEEDED);
      const progress = events.flatMap(({ event }) => (event.case === "stepProgress" ? [event.value.message] : []));
      expect(progress).toContain("No replica of the serving revision is healthy, so it is replaced at once.");
    } finally {
      rmSync(`/tmp/hms-dead-${mark}`);
    }
  });

  test("runs build and release command, passes their output on, and goes back if the release command fails", async () => {
    const run = "run: {command: exec node server.js, build: echo built, release: 'echo migrated; exit 0'}\n";
    const written = site.program.write({ version: "1" });
    const manifest = written.manifest.replace(/run:\n {2}command: .*\n/, run);
    const { ended, events } = await outcomeOf(site.client.deploy({ ...written, manifest }));
    expect(ended.state).toBe(RolloutState.SUCCEEDED);
    const output = events.flatMap(({ event }) => (event.case === "stepOutput" ? [event.value.text] : []));
    expect(output).toEqual(["built", "migrated"]);
    const failing = manifest.replace("exit 0", "exit 9");
    const second = await outcomeOf(site.client.deploy({ ...written, manifest: failing }));
    expect(second.ended).toMatchObject({ state: RolloutState.ROLLED_BACK, failure: { exit: { code: 9 } } });
    expect(site.plane.active.every(({ revision }) => revision === 1n)).toBe(true);
  });
});

describe("what a release command says", () => {
  const withRelease = (release: string) => {
    const written = site.program.write({ version: "1", replicas: 1 });
    return { ...written, manifest: written.manifest.replace("run:\n", `run:\n  release: "${release}"\n`) };
  };
  const commands = () => site.agent.tasks.filter((task) => task.startsWith("release-"));

  test("without ever ending a line is kept in pieces, up to a limit, and the rollout goes on", async () => {
    const { ended, events } = await outcomeOf(
      site.client.deploy(withRelease("head -c 20000000 /dev/zero | tr '\\\\0' x")),
    );
    expect(ended.state).toBe(RolloutState.SUCCEEDED);
    const said = events.flatMap(({ event }) => (event.case === "stepOutput" ? [event.value.text.length] : []));
    expect(Math.max(...said)).toBeLessThanOrEqual(16 * 1024);
    expect(said.reduce((sum, length) => sum + length, 0)).toBeLessThan(5_000_000);
    const progress = events.flatMap(({ event }) => (event.case === "stepProgress" ? [event.value.message] : []));
    expect(progress).toContain("It says more than is kept: the rest is left out here.");
    expect(commands()).toHaveLength(1);
  });

  test("and the journal refuses for good is left out, and the command does not run again", async () => {
    const { db } = site.database.database;
    await sql`create function refuse_said() returns trigger language plpgsql as $$
      begin if new.event ? 'stepOutput' then raise exception 'refused'; end if; return new; end $$`.execute(db);
    await sql`create trigger refuse_said before insert on rollout_event
      for each row execute function refuse_said()`.execute(db);
    const { ended } = await outcomeOf(site.client.deploy(withRelease("echo said")));
    expect(ended.state).toBe(RolloutState.SUCCEEDED);
    expect(commands()).toHaveLength(1);
  });
});

describe("two deploys of one service at once", () => {
  test("happen one after the other, and the second says for whom it waits", async () => {
    const [first, second] = await Promise.all([
      site.deploy({ version: "same", before: "const until = Date.now() + 300; while (Date.now() < until);" }),
      outcomeOf(site.client.deploy(site.program.write({ version: "same" }))),
    ]);
    const states = [first, second].map(({ ended }) => ended.state);
    expect(states).toEqual([RolloutState.SUCCEEDED, RolloutState.SUCCEEDED]);
    const waiting = [first, second].flatMap(({ events }) => events.filter(({ event }) => event.case === "waiting"));
    expect(waiting).toHaveLength(1);
    expect(site.agent.running()).toHaveLength(2);
  });
});

test("restarts whose chosen ids end alike each bring new replicas, and what serves goes on", async () => {
  await site.deploy({ version: "1" });
  site.plane.load(5);
  const before = new Set(site.agent.running());
  for (const id of ["20260101restart", "20260102restart"]) {
    const restart = site.client.restart(echo, { metadata: { "x-hms-idempotency-key": id } });
    expect((await outcomeOf(restart)).ended.state).toBe(RolloutState.SUCCEEDED);
    const now = site.agent.running();
    expect(now).toHaveLength(2);
    expect(now.filter((each) => before.has(each))).toEqual([]);
    for (const each of now) before.add(each);
  }
  expect(await site.plane.stopLoad()).toEqual([]);
});

describe("without room on the disk", () => {
  test("what would begin a rollout is refused at once and changes nothing; what frees room works", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    site.agent.freeBytes = 3n * 1024n ** 2n;
    for (const attempt of [
      () => site.deploy({ version: "2" }),
      () => outcomeOf(site.client.scale({ ...echo, replicas: 2 })),
      () => outcomeOf(site.client.restart(echo)),
    ]) {
      await expect(attempt()).rejects.toMatchObject({
        code: "RESOURCE_EXHAUSTED",
        message: expect.stringContaining("disk of the data directory is full (3 MiB left)"),
      });
    }
    expect((await site.client.listRollouts(echo)).rollouts).toHaveLength(1);
    expect((await outcomeOf(site.client.stop(echo))).ended.state).toBe(RolloutState.SUCCEEDED);
    site.agent.freeBytes = 1n << 40n;
    expect((await site.deploy({ version: "2" })).ended.state).toBe(RolloutState.SUCCEEDED);
  });
});

describe("rollback", () => {
  test("brings back the last good release with its manifest and environment", async () => {
    const manifest = `env: {SUFFIX: "-$\{env.WORD}"}\n`;
    await site.deploy({ version: "1", manifest }, { variables: { WORD: "old" } });
    await site.deploy({ version: "2", manifest }, { variables: { WORD: "new" } });
    await site.deploy({ version: "bad", before: "process.exit(1);" });
    const { ended } = await outcomeOf(site.client.rollback(echo));
    expect(ended).toMatchObject({ state: RolloutState.SUCCEEDED, revision: 1n });
    site.plane.load(5);
    await waitFor(() => site.plane.answers.length > 5, { describe: "some answers" });
    expect(await site.plane.stopLoad()).toEqual([]);
    expect(site.plane.answers.at(-1)?.version).toBe("1-old");
    await expect(outcomeOf(site.client.rollback(echo))).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  test("can be taken back, also after later versions have failed", async () => {
    await site.deploy({ version: "1" });
    await site.deploy({ version: "2" });
    await outcomeOf(site.client.rollback(echo));
    await site.deploy({ version: "bad", before: "process.exit(1);" });
    const { ended } = await outcomeOf(site.client.rollback({ ...echo, revision: 2n }));
    expect(ended).toMatchObject({ state: RolloutState.SUCCEEDED, revision: 2n });
  });

  test("to a release that is not there any more touches nothing", async () => {
    await site.deploy({ version: "1" });
    const { releaseDigest } = await site.client.getService(echo);
    await site.deploy({ version: "2" });
    site.agent.loseRelease(releaseDigest);
    const before = site.plane.pictures.length;
    const { ended } = await outcomeOf(site.client.rollback(echo));
    expect(ended).toMatchObject({ state: RolloutState.ROLLED_BACK, revision: 2n });
    expect(ended.failure?.reason).toContain("release of revision 1 is not on this machine");
    expect(site.plane.pictures).toHaveLength(before);
  });
});

describe("the other verbs", () => {
  test("scale, restart, stop and remove do what they say", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    site.plane.load(5);
    expect((await outcomeOf(site.client.scale({ ...echo, replicas: 3 }))).ended.state).toBe(RolloutState.SUCCEEDED);
    expect(site.plane.active).toHaveLength(3);
    const before = new Set(site.agent.running());
    expect((await outcomeOf(site.client.restart(echo))).ended.state).toBe(RolloutState.SUCCEEDED);
    expect(site.agent.running().filter((id) => before.has(id))).toEqual([]);
    expect((await outcomeOf(site.client.scale({ ...echo, replicas: 1 }))).ended.state).toBe(RolloutState.SUCCEEDED);
    expect(site.plane.active).toHaveLength(1);
    expect(await site.plane.stopLoad()).toEqual([]);

    expect((await outcomeOf(site.client.stop(echo))).ended.state).toBe(RolloutState.SUCCEEDED);
    expect(site.agent.running()).toEqual([]);
    expect(site.plane.entry).toMatchObject({ endpoints: [], routes: [{ path: "/echo" }] });
    expect((await site.client.getService(echo)).service?.health).toBe(ServiceHealth.STOPPED);
    expect((await outcomeOf(site.client.restart(echo))).ended.state).toBe(RolloutState.SUCCEEDED);
    expect(site.plane.active).toHaveLength(1);

    const { ended, events } = await outcomeOf(site.client.remove(echo));
    expect(ended.state).toBe(RolloutState.SUCCEEDED);
    expect(site.plane.entry).toBeUndefined();
    expect(site.agent.logs).toEqual([]);
    await expect(site.client.getService(echo)).rejects.toMatchObject({ code: "NOT_FOUND" });
    const replay = await outcomeOf(site.client.watchRollout({ rolloutId: events[0]?.rolloutId ?? "" }));
    expect(replay.ended.state).toBe(RolloutState.SUCCEEDED);
  });

  test("lists page by page, newest rollouts first", async () => {
    for (const name of ["a", "b", "c"]) await site.deploy({ version: "1", replicas: 1, name });
    const first = await site.client.listServices({ environment: "", pageSize: 2 });
    expect(first.services.map(({ name }) => name)).toEqual(["a", "b"]);
    const second = await site.client.listServices({ environment: "", pageSize: 2, pageToken: first.nextPageToken });
    expect(second.services.map(({ name }) => name)).toEqual(["c"]);
    expect(second.nextPageToken).toBe("");
    await outcomeOf(site.client.restart({ environment: "", service: "a" }));
    const { rollouts, nextPageToken } = await site.client.listRollouts({ environment: "", service: "a", pageSize: 1 });
    expect(rollouts).toMatchObject([
      { kind: deployment.RolloutKind.RESTART, state: RolloutState.SUCCEEDED, version: "1" },
    ]);
    const rest = await site.client.listRollouts({ environment: "", service: "a", pageToken: nextPageToken });
    expect(rest.rollouts).toMatchObject([{ kind: deployment.RolloutKind.DEPLOY }]);
  });
});

import { deployment } from "@hms/contracts";
import { waitFor } from "@hms/testkit";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { stepUnderWay as underWay } from "./testing/step-under-way.ts";
import { deploymentHost, openSite, outcomeOf } from "./testing/test-site.ts";

const { RolloutState } = deployment;
const echo = { environment: "default", service: "echo" };
const FAST = "warm: 0s";

afterAll(() => deploymentHost[Symbol.asyncDispose]());

let site: Awaited<ReturnType<typeof openSite>>;
beforeEach(async () => {
  site = await openSite();
});
afterEach(async () => {
  await site[Symbol.asyncDispose]();
});

/** The split that the mesh has now. */
async function split() {
  const { content } = await site.mesh.getSnapshot({});
  return content?.services.find(({ name }) => name === "echo")?.split;
}

const stepUnderWay = (title: RegExp) => underWay(site.client, title);

const manual = (strategy: string, more = "") => `rollout: {strategy: ${strategy}, promote: manual, ${FAST}${more}}\n`;

describe("a canary", () => {
  test("gets its shares one after the other, each from replicas that can carry it, and then everything", async () => {
    await site.deploy({ version: "1", replicas: 2 });
    const manifest = manual(
      "canary",
      ", steps: [{share: 1%}, {share: 50%}], match: [{header: x-beta, value: 'yes'}], sticky: 'cookie:sid'",
    );
    const deploying = site.deploy({ version: "2", replicas: 2, manifest });
    await stepUnderWay(/^Waiting at 1 % until/);
    expect(await split()).toMatchObject({
      revision: 2n,
      share: 100,
      matches: [
        { of: { case: "header", value: { name: "x-hms-revision", value: "2" } } },
        { of: { case: "header", value: { name: "x-beta", value: "yes" } } },
      ],
      sticky: { by: { case: "cookie", value: "sid" } },
    });
    expect(site.agent.running()).toHaveLength(3);
    const { rolloutId } = await site.client.promote(echo);
    await stepUnderWay(/^Waiting at 50 % until/);
    expect(await split()).toMatchObject({ revision: 2n, share: 5000 });
    await site.client.promote({ ...echo, rolloutId, reason: "looks well" });
    const { ended, events } = await deploying;
    expect(ended.state).toBe(RolloutState.SUCCEEDED);
    const said = events.flatMap(({ event }) => (event.case === "stepProgress" ? [event.value.message] : []));
    expect(said).toContainEqual(expect.stringMatching(/^Promoted by \w+:[^:]+: looks well$/));
    expect(await split()).toBeUndefined();
    expect(site.agent.running()).toHaveLength(2);
    expect(site.plane.active.every(({ revision }) => revision === 2n)).toBe(true);
  });

  test("that crashes while it is watched is undone at once, and nothing of the old version had to start", async () => {
    await site.deploy({ version: "1", replicas: 2 });
    const before = site.agent.running().toSorted();
    const deploying = site.deploy({ version: "2", replicas: 2, manifest: manual("canary") });
    await stepUnderWay(/^Waiting at 1 % until/);
    const tried = site.agent.running().filter((id) => !before.includes(id));
    const killing = setInterval(() => {
      for (const id of tried.filter((each) => site.agent.running().includes(each))) {
        const pid = site.agent.pidOf(id);
        try {
          if (pid > 0) process.kill(pid, "SIGKILL");
        } catch {
          // It ended by itself in this moment.
        }
      }
    }, 20);
    try {
      const { ended } = await deploying;
      expect(ended).toMatchObject({ state: RolloutState.ROLLED_BACK, revision: 1n });
      expect(ended.failure?.reason).toMatch(/is not healthy any more|ended \d times/);
    } finally {
      clearInterval(killing);
    }
    expect(site.agent.running().toSorted()).toEqual(before);
    expect(await split()).toBeUndefined();
  });

  test("is paused between its steps, resumed, and aborted, each with who asked in its journal", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    const manifest = `rollout: {strategy: canary, ${FAST}, steps: [{share: 10%, hold: 300ms}, {share: 50%, hold: 1h}]}\n`;
    const deploying = site.deploy({ version: "2", replicas: 1, manifest });
    await stepUnderWay(/^Watching at 10 %|^Sending 10 %/);
    await site.client.pause({ ...echo, reason: "lunch" });
    await stepUnderWay(/^Paused until/);
    expect(await split()).toMatchObject({ share: 1000 });
    await site.client.resume(echo);
    await stepUnderWay(/^Watching at 50 % for 60 min/);
    await site.client.abort({ ...echo, reason: "enough" });
    const { ended } = await deploying;
    expect(ended).toMatchObject({ state: RolloutState.ROLLED_BACK, revision: 1n });
    expect(ended.failure?.reason).toMatch(/^Aborted by \w+:.*: enough\.$/);
  });

  test("says what cannot be asked of it, and why", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    await expect(site.client.abort(echo)).rejects.toMatchObject({ details: { reason: "NO_ROLLOUT" } });
    const deploying = site.deploy({ version: "2", replicas: 1, manifest: manual("canary") });
    await stepUnderWay(/^Waiting at 1 % until/);
    await expect(site.client.resume(echo)).rejects.toMatchObject({ details: { reason: "NOT_PAUSED" } });
    await expect(site.client.promote({ ...echo, rolloutId: "other" })).rejects.toMatchObject({
      details: { reason: "OTHER_ROLLOUT" },
    });
    await expect(site.client.pause({ ...echo, reason: "x".repeat(501) })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await site.client.promote({ ...echo, full: true });
    expect((await deploying).ended.state).toBe(RolloutState.SUCCEEDED);
  });
});

describe("blue-green", () => {
  test("has all of green behind the preview, switches in one picture, and goes back as fast while blue is warm", async () => {
    await site.deploy({ version: "1", replicas: 2 });
    const blue = site.agent.running().toSorted();
    const request = site.program.write({
      version: "2",
      replicas: 2,
      manifest: "rollout: {promote: manual, warm: 1h, strategy: canary}\n",
    });
    const deploying = outcomeOf(site.client.deploy({ ...request, strategy: "blue-green" }));
    await stepUnderWay(/^Waiting at the preview/);
    expect(site.agent.running()).toHaveLength(4);
    expect(await split()).toMatchObject({ revision: 2n, share: 0 });
    await site.client.promote(echo);
    await stepUnderWay(/^Keeping revision 1 warm/);
    expect(await split()).toMatchObject({ revision: 2n, share: 10_000 });
    const began = performance.now();
    await site.client.abort(echo);
    await waitFor(async () => (await split()) === undefined, { describe: "blue to have everything again" });
    expect(performance.now() - began).toBeLessThan(3_000);
    expect((await deploying).ended).toMatchObject({ state: RolloutState.ROLLED_BACK, revision: 1n });
    expect(site.agent.running().toSorted()).toEqual(blue);
  });

  test("asked for by a strategy that does not exist is refused", async () => {
    const request = site.program.write({ version: "1" });
    await expect(outcomeOf(site.client.deploy({ ...request, strategy: "bluegreen" }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("rolling, canary, blue-green"),
    });
  });
});

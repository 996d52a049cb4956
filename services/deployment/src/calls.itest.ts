import { type agent, deployment } from "@hms/contracts";
import { endTransports } from "@hms/testkit";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { deploymentHost, openSite, outcomeOf } from "./testing/test-site.ts";

const { RolloutState, ServiceHealth } = deployment;
const echo = { environment: "default", service: "echo" };

afterAll(() => deploymentHost[Symbol.asyncDispose]());

// What passes between the service and its callers; what it does by itself is the same wherever it runs.
describe.each(endTransports)("the deployment service, called %s,", (via) => {
  let site: Awaited<ReturnType<typeof openSite>>;
  beforeEach(async () => {
    site = await openSite(via);
  });
  afterEach(async () => {
    await site[Symbol.asyncDispose]();
  });

  test("deploys: it ends with the revision serving, and says what happened", async () => {
    const { titles, ended, events } = await site.deploy({ version: "1" });
    expect(titles).toEqual([
      expect.stringMatching(/^Release prepared \(1 file, sha256:[0-9a-f]{8}…\)$/),
      "Replicas 1 and 2 of 2 started",
      "Replicas 1 and 2 of 2 healthy",
      "Registered in service mesh",
      "Replicas 1 and 2 of 2 healthy under traffic",
      expect.stringMatching(/^Revision 1 serves \(2\/2 replicas, sha256:/),
    ]);
    expect(ended).toMatchObject({ state: RolloutState.SUCCEEDED, serviceUrls: ["http://echo.mesh/echo"] });
    expect(events.map(({ sequence }) => Number(sequence))).toEqual(events.map((_, index) => index + 1));
    expect(events[0]?.event).toMatchObject({ case: "planned", value: { revision: 1n, service: "echo" } });
    expect(site.plane.active).toHaveLength(2);
    const { service, replicas, releaseDigest } = await site.client.getService(echo);
    expect(service).toMatchObject({ health: ServiceHealth.HEALTHY, replicasReady: 2, replicasWanted: 2, version: "1" });
    expect(replicas.map(({ ready }) => ready)).toEqual([true, true]);
    expect(releaseDigest).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test("leaves a rollout going when the caller goes, to be watched by anybody at any time", async () => {
    const request = site.program.write({ version: "1" });
    let rolloutId = "";
    for await (const event of site.client.deploy(request)) {
      rolloutId = event.rolloutId;
      break;
    }
    const first = await outcomeOf(site.client.watchRollout({ rolloutId }));
    const again = await outcomeOf(site.client.watchRollout({ rolloutId }));
    expect(first.ended.state).toBe(RolloutState.SUCCEEDED);
    expect(again.events).toEqual(first.events);
  });

  test("fails a second deploy with the holder's name if it does not want to wait", async () => {
    const slow = "const until = Date.now() + 500; while (Date.now() < until);";
    const stream = site.client.deploy(site.program.write({ version: "slow", before: slow }))[Symbol.asyncIterator]();
    const { value } = await stream.next();
    const holder = (value as deployment.RolloutEvent).rolloutId;
    const refused = site.deploy({ version: "2" }, { refuseIfLocked: true });
    await expect(refused).rejects.toMatchObject({
      code: "ABORTED",
      details: { reason: "ROLLOUT_LOCKED", metadata: { holder, kind: "deploy", since: expect.stringMatching(/^20/) } },
    });
    await outcomeOf(site.client.watchRollout({ rolloutId: holder }));
  });

  test("refuses names that are none, and name the nearest service", async () => {
    await site.deploy({ version: "1", replicas: 1 });
    await expect(site.client.getService({ environment: "", service: "ecko" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining('Did you mean "echo"?'),
    });
    await expect(site.client.getService({ environment: "", service: "../x" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(outcomeOf(site.client.scale({ ...echo, replicas: 99 }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(outcomeOf(site.client.watchRollout({ rolloutId: "nope" }))).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("runs a command in the service's release and environment", async () => {
    await site.deploy({ version: "1", replicas: 1, manifest: "env: {WORD: hello}\n" });
    const command = ["sh", "-c", 'echo "$WORD $(ls)"'];
    let text = "";
    let exit: agent.ExitStatus | undefined;
    for await (const { event } of site.client.runCommand({ ...echo, command })) {
      if (event.case === "output") text += Buffer.from(event.value.data).toString();
      if (event.case === "exit") exit = event.value;
    }
    expect(text).toBe("hello server.js\n");
    expect(exit?.code).toBe(0);
  });
});

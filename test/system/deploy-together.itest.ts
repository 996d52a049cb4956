import { get, type IncomingMessage } from "node:http";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

const CRASH = "process.exit(3);";

/** Writes three services, of which web needs api and api needs db; answers with the folder in which they lie. */
function write(version: string, crashes: readonly string[] = []): string {
  const needs: Record<string, string> = { web: "needs: [api]", api: "needs: [db]" };
  const files = ["web", "api", "db"].map((name) => {
    const before = crashes.includes(name) ? CRASH : "";
    return echoService(platform, {
      name,
      version,
      replicas: 1,
      manifest: needs[name] ?? "",
      before,
      startTimeout: "5s",
    });
  });
  return dirname(dirname(files[0] ?? ""));
}

const versions = () =>
  Promise.all(
    ["db", "api", "web"].map(async (name) => {
      const response = await fetch(platform.url(`/${name}`));
      return response.ok ? ((await response.json()) as { version: string }).version : String(response.status);
    }),
  );

describe("several services at once", () => {
  test("are deployed in the order of their needs, and a failure goes back over all of them if it should", async () => {
    const alone = await platform.cli("deploy", join(write("0"), "api", "api.hms.yml"));
    expect(alone).toMatchObject({ code: 0, stderr: expect.stringContaining("It needs db, which does not serve now.") });
    const first = await platform.cli("deploy", write("1"));
    expect(first).toMatchObject({ code: 0, stderr: expect.stringContaining("In this order: db, api, web") });
    expect(first.stdout).toMatch(/db +deployed.*\n.*api +deployed.*\n.*web +deployed/);
    expect(await versions()).toEqual(["1", "1", "1"]);

    const halted = await platform.cli("deploy", write("2", ["api"]));
    expect(halted.code).toBe(3);
    expect(halted.stdout).toMatch(/db +deployed.*\n.*api +failed.*\n.*web +not begun/);
    expect(await versions()).toEqual(["2", "1", "1"]);

    const back = await platform.cli("deploy", write("3", ["web"]), "--on-failure", "rollback-all", "-o", "json");
    expect(back.code).toBe(3);
    const last = JSON.parse(back.stdout.trim().split("\n").at(-1) ?? "") as { services: unknown; run: string };
    const { services, run } = last;
    expect(services).toMatchObject([
      { service: "db", outcome: "gone back" },
      { service: "api", outcome: "gone back" },
      { service: "web", outcome: "failed" },
    ]);
    expect(await versions()).toEqual(["2", "1", "1"]);
    const runs = await platform.json<{ runId: string; state: string }[]>("runs", "list", "--label", "kind=deploy");
    expect(runs.map(({ runId, state }) => [runId === run, state])).toEqual([
      [true, "RUN_STATE_FAILED"],
      [false, "RUN_STATE_FAILED"],
      [false, "RUN_STATE_SUCCEEDED"],
    ]);
    expect((await platform.cli("deploy", write("4"), "--plan", "1.a.b")).stderr).toContain(
      "--plan is about one manifest",
    );
    const detached = await platform.cli("deploy", write("2", ["api"]), "--detach");
    expect(detached).toMatchObject({ code: 0, stderr: expect.stringContaining("hms-sys runs cancel") });
    const cancelled = await platform.cli("runs", "cancel", detached.stdout.trim());
    expect(cancelled).toMatchObject({ code: 0 });
    await platform.cli("runs", "watch", detached.stdout.trim());
    expect(await versions()).toEqual(["2", "1", "1"]);
  }, 180_000);

  test("that need nothing of one another go at once with --parallel, and what needs them after both", async () => {
    const slow = { replicas: 1, before: "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);" };
    const left = echoService(platform, { name: "left", version: "1", ...slow });
    echoService(platform, { name: "right", version: "1", ...slow });
    const both = dirname(dirname(left));
    const files = ["left", "right"].map((name) => join(both, name, `${name}.hms.yml`));
    const last = echoService(platform, { name: "last", version: "1", replicas: 1, manifest: "needs: [left, right]" });
    const deployed = await platform.cli("deploy", ...files, last, "--parallel", "-o", "json");
    expect(deployed, deployed.stderr).toMatchObject({ code: 0 });
    const { run } = JSON.parse(deployed.stdout.trim().split("\n").at(-1) ?? "") as { run: string };
    const { nodes } = await platform.json<{ nodes: { node: string; startedAt: string; endedAt: string }[] }>(
      "runs",
      "show",
      run,
    );
    const timesOf = (id: string) => {
      const { startedAt = "", endedAt = "" } = nodes.find(({ node }) => node === id) ?? {};
      return { startedAt: Date.parse(startedAt), endedAt: Date.parse(endedAt) };
    };
    const [one, other, after] = [timesOf("left"), timesOf("right"), timesOf("last")];
    expect(Math.max(one.startedAt, other.startedAt)).toBeLessThan(Math.min(one.endedAt, other.endedAt));
    expect(after.startedAt).toBeGreaterThanOrEqual(Math.max(one.endedAt, other.endedAt));
  }, 60_000);

  test("go into a preview, which is reached by its name and nothing of which is left when it has ended", async () => {
    const folder = write("4");
    const deployed = await platform.cli(
      "deploy",
      join(folder, "db", "db.hms.yml"),
      "--preview",
      "pr-7",
      "--expires",
      "2h",
    );
    expect(deployed).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/Preview pr-7 of default until .*: http:\/\/pr-7\.localhost:\d+/),
    });
    expect(deployed.stderr).toContain('"pr-7" is a preview of "default"');
    const asked = async (host: string) => {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        get(platform.url("/db"), { headers: { host } }, resolve).once("error", reject);
      });
      return `${answer.statusCode} ${/"version":"(\d)/.exec(await text(answer))?.[1]}`;
    };
    expect([await asked("pr-7.localhost"), await asked("localhost")]).toEqual(["200 4", "200 2"]);
    expect((await platform.cli("previews")).stdout).toMatch(/pr-7 +default +20.* db /);
    expect((await platform.cli("previews", "end", "pr-7")).stdout).toContain("being removed: db");
    await waitFor(async () => (await platform.json<object[]>("previews")).length === 0, {
      describe: "the preview to end",
    });
    expect([await asked("pr-7.localhost"), await asked("localhost")]).toEqual(["404 undefined", "200 2"]);
  }, 60_000);
});

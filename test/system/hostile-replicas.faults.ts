import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { machineSlowness, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, type Load, startLoad } from "./open-loop-load.ts";
import { type Platform, startPlatform } from "./platform.ts";

/** An argument by which this run's processes are told from all others. */
const mark = String(randomInt(1e8, 2e8));
const child = (program: string, script: string, stdio: string) =>
  `require("node:child_process").spawn(${JSON.stringify(program)}, ${script}, { stdio: ${stdio}, detached: ${program === "setsid"} });`;

interface Hostile {
  before: string;
  manifest?: string;
}
const hostile: Record<string, Hostile> = {
  flood: { before: child("sh", `["-c", "exec yes flood-${mark}"]`, '["ignore", "inherit", "inherit"]') },
  line: { before: 'setInterval(() => process.stdout.write("y".repeat(10 * 1024 * 1024) + "\\n"), 500);' },
  forks: {
    before: child("sh", `["-c", "while :; do sleep ${mark} & done"]`, '"ignore"'),
    manifest: "resources:\n  processes: 100\n",
  },
  deaf: {
    before: `process.exit = () => {}; setInterval(() => {}, 1000); ${child("sh", `["-c", "trap '' TERM; sleep ${mark}; sleep ${mark}"]`, '"ignore"')}`,
  },
  daemon: {
    before: child("setsid", `["sh", "-c", "sleep ${mark} & setsid sleep ${mark} & sleep ${mark}"]`, '"ignore"'),
  },
  hungry: {
    before: "const held = []; setTimeout(() => setInterval(() => held.push(Buffer.alloc(20e6, 1)), 10), 1500);",
    manifest: "resources:\n  memory: 150Mi\n",
  },
};
const names = Object.keys(hostile);

const PER_SECOND = 20;

let platform: Platform;
let load: Load;
let loadBegan = 0;
let slowness = 1;
beforeAll(async () => {
  platform = await startPlatform();
  expect(await platform.cli("deploy", echoService(platform, { version: "1" }))).toMatchObject({ code: 0 });
  load = startLoad({ url: platform.url("/echo-svc"), method: "POST", body: '{"x":1}', perSecond: PER_SECOND });
  loadBegan = performance.now();
}, 120_000);
afterAll(async () => {
  await load?.stop();
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

const marked = () => {
  const lines = execFileSync("ps", ["-eo", "pid,args"]).toString().split("\n");
  return lines.filter((line) => line.includes(mark) && !line.includes("ps -eo"));
};

describe("beside replicas that flood their log, fork for ever, do not listen, hide and eat memory", () => {
  test("deploying still ends, one way or the other", async () => {
    const results = await Promise.all(
      names.map((name) => {
        const { before, manifest = "" } = hostile[name] as Hostile;
        const more = `${manifest}stop_grace: 500ms\n`;
        return platform.cli(
          "deploy",
          echoService(platform, { name, version: "1", replicas: 1, startTimeout: "10s", before, manifest: more }),
        );
      }),
    );
    for (const { code, stderr } of results) expect([0, 3], stderr).toContain(code);
    expect(marked().length).toBeGreaterThan(5);
  }, 120_000);

  test("a replica beyond its memory is ended, started again, and the reason is there to read", async () => {
    await waitFor(async () => (await platform.cli("logs", "hungry", "--tail", "20")).stdout.includes("memory"), {
      deadlineMs: 40_000,
      describe: "the remark about memory",
    });
  }, 60_000);

  test.each(["flood", "line"])("the end of the log of %s can be read at once", async (name) => {
    const began = performance.now();
    const { code, stdout } = await platform.cli("logs", name, "--tail", "2");
    expect(code).toBe(0);
    expect(stdout.length).toBeGreaterThan(0);
    const tookMs = performance.now() - began;
    expect(tookMs).toBeLessThan(5000 * (await machineSlowness()));
  });

  test("the machine is as slow as they make it", async () => {
    slowness = await machineSlowness();
  });

  test("the agent's memory stays within bounds", async () => {
    const { components } = await platform.json<{ components: { name: string; memoryBytes: string }[] }>("status");
    const bytes = Number(components.find(({ name }) => name === "agent")?.memoryBytes);
    expect(bytes).toBeLessThan(400e6);
  });

  test("stop ends everything that a service started", async () => {
    const results = await Promise.all(names.map((name) => platform.cli("stop", name)));
    expect(results.map(({ code, stderr }) => (code === 0 ? "" : stderr))).toEqual(names.map(() => ""));
    expect(marked()).toEqual([]);
  }, 60_000);

  test("the neighbour answered all along, 99 of 100 requests within a second", async () => {
    const lastedS = (performance.now() - loadBegan) / 1000;
    const records = await load.stop();
    expect(failures(records)).toEqual([]);
    // An open loop: each request went out at its time, whatever became of the ones before it.
    expect(records.length).toBeGreaterThan(0.9 * PER_SECOND * lastedS);
    const took = records.map(({ startedAt, endedAt }) => endedAt - startedAt).sort((a, b) => a - b);
    expect(took[Math.floor(took.length * 0.99)]).toBeLessThan(1000 * slowness);
  });
});

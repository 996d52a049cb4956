import { waitFor } from "@hms/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "../system/echo-service.ts";
import { failures, type Load, startLoad } from "../system/open-loop-load.ts";
import { type Platform, startPlatform } from "../system/platform.ts";
import { mayMount, SmallDisk } from "../system/small-disk.ts";

let disk: SmallDisk;
let platform: Platform;
let load: Load;
beforeAll(async () => {
  if (!mayMount) return;
  disk = new SmallDisk();
  platform = await startPlatform({ home: disk.home });
  expect(await deploy("1")).toMatchObject({ code: 0 });
  load = startLoad({ url: platform.url("/echo-svc"), method: "POST", body: '{"x":1}', perSecond: 50 });
}, 120_000);
afterEach(() => disk?.free());
afterAll(async () => {
  await load?.stop();
  disk?.free();
  await platform?.[Symbol.asyncDispose]();
  disk?.[Symbol.dispose]();
}, 60_000);

const CHATTY = 'setInterval(() => console.log("x".repeat(500)), 2);';
const deploy = (version: string, before = CHATTY) =>
  platform.cli("deploy", echoService(platform, { version, before }), "--timeout", "30s");
const version = async () => ((await (await fetch(platform.url("/echo-svc"))).json()) as { version: string }).version;
const history = () => platform.json<{ state: string; version: string }[]>("history", "echo-svc");
const settled = () =>
  waitFor(async () => (await history()).every(({ state }) => /SUCCEEDED|ROLLED_BACK|FAILED/.test(state)), {
    deadlineMs: 45_000,
    describe: "every rollout has ended",
  });

describe.runIf(mayMount)("while the disk is full", () => {
  test("replicas that log go on, and what changes something is refused with the reason and changes nothing", async () => {
    disk.fill();
    for (const command of [
      ["scale", "echo-svc", "3"],
      ["restart", "echo-svc"],
      ["rollback", "echo-svc"],
    ]) {
      const { code, stderr } = await platform.cli(...command, "--timeout", "20s");
      expect(code, stderr).toBe(1);
      expect(stderr).toMatch(/full/i);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
    expect(await deploy("2")).toMatchObject({ code: 1, stderr: expect.stringMatching(/full/) });
    expect(await version()).toBe("1");
    expect(await platform.cli("logs", "echo-svc", "--tail", "3")).toMatchObject({ code: 0 });
    disk.free();
    await settled();
    expect(await deploy("3")).toMatchObject({ code: 0 });
    expect(await version()).toBe("3");
  }, 180_000);

  test.each([0, 700, 1500])(
    "%i ms after a rollout has begun, it ends once there is room, and the next one works",
    async (afterMs) => {
      const name = `during-${afterMs}`;
      const under = deploy(name);
      const began = performance.now();
      await waitFor(async () => (await history()).some((one) => one.version === name), {
        deadlineMs: 60_000,
        describe: "the rollout is on record",
      });
      await waitFor(() => performance.now() - began > afterMs, { describe: "the moment has come" });
      disk.fill();
      await waitFor(() => performance.now() - began > afterMs + 4000, { describe: "four seconds without space" });
      disk.free();
      const { code, stderr } = await under;
      expect([0, 3, 4], stderr).toContain(code);
      await settled();
      const next = await deploy(`after-${afterMs}`);
      expect(next).toMatchObject({ code: 0 });
      expect(await version()).toBe(`after-${afterMs}`);
    },
    180_000,
  );

  test("all of it lost no request", async () => {
    expect(failures(await load.stop())).toEqual([]);
  });
});

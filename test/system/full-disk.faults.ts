import { waitFor } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { startPlatform } from "./platform.ts";
import { mayMount, SmallDisk } from "./small-disk.ts";
import { killAtOnce, type Outage, wasUnderWay } from "./sudden-death.ts";

describe.runIf(mayMount)("an installation whose disk is full", () => {
  test("refuses changes at once with the reason, and what dies on it comes back without losing a request", async () => {
    using disk = new SmallDisk();
    await using platform = await startPlatform({ home: disk.home });
    expect(await platform.cli("deploy", echoService(platform, { version: "1" }))).toMatchObject({ code: 0 });
    await using load = startLoad({ url: platform.url("/echo-svc"), perSecond: 50 });
    const isolation = async () => (await platform.json<{ isolation: string }>("status")).isolation;
    const before = await isolation();
    disk.fill();
    for (const command of [
      ["scale", "echo-svc", "3"],
      ["restart", "echo-svc"],
      ["deploy", echoService(platform, { version: "2" })],
    ]) {
      const began = performance.now();
      const { code, stderr } = await platform.cli(...command);
      expect(code, stderr).toBe(1);
      expect(stderr).toMatch(/full/);
      // Long before anything that is tried again would have been given up.
      expect(performance.now() - began).toBeLessThan(30_000);
    }
    const outages: Outage[] = [];
    for (const component of ["dataplane", "server", "agent"]) {
      const victim = await platform.pidOf(component);
      outages.push(await killAtOnce(victim));
      await waitFor(async () => ![0, victim].includes(await platform.pidOf(component).catch(() => 0)), {
        deadlineMs: 30_000,
        describe: `the ${component} is back`,
      });
    }
    expect(await isolation()).toBe(before);
    disk.free();
    const settled = () => platform.cli("status", "echo-svc", "--wait", "--timeout", "30s");
    expect(await settled()).toMatchObject({ code: 0 });
    // Only what ran on the data plane when it died may fail.
    const [death = { from: 0, to: 0 }] = outages;
    expect(failures(await load.stop()).filter((record) => !wasUnderWay(record, death))).toEqual([]);
    const { code, stderr } = await platform.cli("deploy", echoService(platform, { version: "3" }));
    expect(code, stderr).toBe(0);
  }, 120_000);
});

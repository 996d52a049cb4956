import type { agent } from "@hms/contracts";
import { machineSlowness } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { identities, TestMachine, until } from "../../test/support/test-machine.ts";

const idOf = (replica: agent.Replica) => replica.spec?.replicaId ?? "";

describe.concurrent.each(identities)("limits kept by %s", (identity) => {
  test("end a replica that takes more memory than it may, and say so", { timeout: 40_000 }, async () => {
    await using machine = await TestMachine.open(identity);
    const hungry = "sleep 0.2; head -c 400000000 /dev/zero | tail | sleep 3; exit 0";
    const replica = await machine.run(hungry, { limits: { memoryBytes: 64_000_000n } });
    const modest = await machine.run("exec sleep 1000", { service: "modest", limits: { memoryBytes: 64_000_000n } });
    const ended = await until(async () => {
      const now = await machine.replica(idOf(replica));
      return now?.lastExit && now;
    }, "the end of the hungry one");
    expect(ended.lastExit?.outOfMemory).toBe(true);
    const notes = (await machine.lines(idOf(replica))).map((line) => line.text);
    expect(notes.some((text) => text.includes("out of memory"))).toBe(true);
    expect((await machine.replica(idOf(modest)))?.pid).toBe(modest.pid);
  });

  test("are measured over the whole tree, every five seconds", { timeout: 40_000 }, async () => {
    await using machine = await TestMachine.open(identity);
    const burn = "sh -c 'while :; do :; done' & exec sleep 1000";
    const replica = await machine.run(burn, { limits: { cpuMillicores: 200 } });
    const usages: agent.ReplicaUsage[] = [];
    for await (const { replica: now } of machine.keeper.stream("watchReplicas", {})) {
      if (now?.usage) usages.push(now.usage);
      if (usages.length === 2) break;
    }
    const slowness = await machineSlowness();
    const [first, second] = usages;
    const apart = Number((second?.measuredAt?.seconds ?? 0n) - (first?.measuredAt?.seconds ?? 0n));
    expect(apart).toBeGreaterThanOrEqual(4);
    expect(apart).toBeLessThanOrEqual(8 * slowness);
    expect(second?.processes).toBe(2);
    expect(Number(second?.memoryBytes)).toBeGreaterThan(100_000);
    expect(second?.cpuMillicores).toBeGreaterThan(100 / slowness);
    const notes = (await machine.lines(idOf(replica))).map((line) => line.text);
    const refused = notes.some((text) => text.startsWith("the processor limit is not kept: "));
    expect(refused).toBe(!machine.keeper.report.cpuLimits);
    if (machine.keeper.report.cpuLimits) expect(second?.cpuMillicores).toBeLessThan(300);
  });
});

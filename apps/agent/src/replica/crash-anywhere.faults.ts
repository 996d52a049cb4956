import { readdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { agent } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { identities, running, TestMachine, uniqueSeconds, until } from "../../test/support/test-machine.ts";

describe.each(identities)("an agent of %s that is killed at any moment", (identity) => {
  test("leaves each replica running once or not at all, never twice", { timeout: 60_000 }, async () => {
    await using machine = await TestMachine.open(identity);
    const digest = await machine.release({ note: "n" });
    const seconds = uniqueSeconds();
    const asked = new Set<string>();
    for (let round = 0; round < 8; round++) {
      const specs = [1, 2, 3].map(() => machine.spec(digest, `exec sleep ${seconds}`));
      for (const spec of specs) {
        asked.add(spec.replicaId);
        machine.startReplica(spec).catch(() => {});
      }
      // The moment itself is what is tested: from before the journal's entry to after the launch.
      await delay(round * 25);
      await machine.keeper.crash();
      await machine.start();
    }
    const kept = await until(async () => {
      const found: agent.Replica[] = [];
      for await (const { replica, synced } of machine.keeper.stream("watchReplicas", {})) {
        if (replica) found.push(replica);
        if (synced) break;
      }
      return found.every(({ state }) => state === agent.ReplicaState.RUNNING) && found;
    }, "every replica's start");
    expect(kept.every((replica) => asked.has(replica.spec?.replicaId ?? ""))).toBe(true);
    expect(kept.length).toBeGreaterThan(3);
    expect(new Set(kept.map((replica) => replica.port)).size).toBe(kept.length);
    await until(() => running(seconds) === kept.length, "one process for each replica");
    expect(readdirSync(`${machine.data}/run/replicas`)).toHaveLength(kept.length);
  });
});

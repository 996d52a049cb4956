import { readFileSync } from "node:fs";
import { agent } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { identities, TestMachine, until } from "../../test/support/test-machine.ts";

const { ReplicaState } = agent;

describe.each(identities)("a replica kept by %s", (identity) => {
  test("runs in its release with its port and nothing of the operator's environment, and stops", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run("cat note.txt; env; exec sleep 1000", { env: { GREETING: "it's $HOME" } });
    expect(replica.state).toBe(ReplicaState.RUNNING);
    const replicaId = replica.spec?.replicaId ?? "";
    const lines = await until(async () => {
      const found = await machine.output(replicaId);
      return found.length > 8 && found;
    }, "the replica's output");
    expect(lines).toContain("hello");
    expect(lines).toContain("GREETING=it's $HOME");
    expect(lines).toContain(`PORT=${replica.port}`);
    expect(lines).toContain(`HMS_REPLICA=${replicaId}`);
    expect(lines.join("\n")).not.toContain("OPERATOR_SECRET");
    expect(readFileSync(`/proc/${replica.pid}/cmdline`, "latin1")).toContain("sleep");
    const stopped = await machine.keeper.call("stopReplica", { replicaId });
    expect(stopped.replica?.state).toBe(ReplicaState.STOPPED);
    expect(stopped.replica?.lastExit?.signal).toBe("SIGTERM");
    expect(await machine.replica(replicaId)).toBeUndefined();
  });

  test("goes on while the agent is dead, and is adopted by the next one", async () => {
    await using machine = await TestMachine.open(identity);
    const loop = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done";
    const replica = await machine.run(loop);
    const replicaId = replica.spec?.replicaId ?? "";
    await until(async () => (await machine.output(replicaId)).length > 3, "the first ticks");
    await machine.keeper.crash();
    await machine.start();
    const adopted = await machine.replica(replicaId);
    expect(adopted?.pid).toBe(replica.pid);
    expect(adopted?.adopted).toBe(true);
    expect(adopted?.port).toBe(replica.port);
    const before = (await machine.output(replicaId)).length;
    await until(async () => (await machine.output(replicaId)).length > before + 3, "ticks after the adoption");
    const ticks = (await machine.output(replicaId)).map((line) => Number(line.split(" ")[1]));
    expect(ticks.slice(1).every((tick, index) => tick > (ticks[index] ?? 0))).toBe(true);
  });
});

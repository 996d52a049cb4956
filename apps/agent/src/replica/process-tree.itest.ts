import { agent } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { identities, running, TestMachine, uniqueSeconds, until } from "../../test/support/test-machine.ts";

const { Isolation, MeshTier } = agent;
const surroundings = [
  ...identities.map((identity) => ({ identity, isolated: true, how: `kept by ${identity}` })),
  { identity: "nobody" as const, isolated: false, how: "without isolation" },
];
const noIsolation = { report: { isolation: Isolation.NONE, meshTier: MeshTier.PROXY } };

describe.concurrent.each(surroundings)("the process tree of a replica $how", ({ identity, isolated }) => {
  const open = () => TestMachine.open(identity, isolated ? {} : { options: noIsolation });

  test("is gone when StopReplica answers, children with sessions of their own included", async () => {
    await using machine = await open();
    const seconds = uniqueSeconds();
    const daemons = `setsid -f sleep ${seconds}; (setsid sh -c 'sleep ${seconds} & sleep ${seconds}' &); sleep ${seconds} & `;
    const replica = await machine.run(`trap "" TERM; ${daemons} echo up; wait`);
    const replicaId = replica.spec?.replicaId ?? "";
    await until(() => running(seconds) === 4, "four processes");
    const answer = await machine.keeper.call("stopReplica", { replicaId, graceMs: 300n });
    expect(running(seconds)).toBe(0);
    expect(answer.replica?.lastExit?.signal).toBe("SIGKILL");
  });

  test("is gone when the main process ends by itself", async () => {
    await using machine = await open();
    const seconds = uniqueSeconds();
    const replica = await machine.run(`setsid -f sleep ${seconds}; sleep 0.3; exit 7`);
    const replicaId = replica.spec?.replicaId ?? "";
    const ended = await until(async () => {
      const now = await machine.replica(replicaId);
      return now?.restarts === 1 && now;
    }, "the first restart");
    expect(ended.lastExit?.code).toBe(7);
    await machine.keeper.call("stopReplica", { replicaId });
    expect(running(seconds)).toBe(0);
  });

  test("gets its grace period: a program that ends in time is not killed", async () => {
    await using machine = await open();
    const replica = await machine.run(`trap 'sleep 0.2; echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done`);
    const replicaId = replica.spec?.replicaId ?? "";
    await until(async () => (await machine.output(replicaId)).includes("up"), "the program's start");
    const { replica: stopped } = await machine.keeper.call("stopReplica", { replicaId });
    expect(stopped?.lastExit?.code).toBe(3);
    expect(await machine.output(replicaId)).toContain("bye");
  });

  test("begins with default signals, no input and few descriptors", async () => {
    await using machine = await open();
    const replica = await machine.run(
      "grep ^Sig /proc/self/status; ls -l /proc/self/fd | wc -l; readlink /proc/self/fd/0; sleep 99",
    );
    const lines = await until(async () => {
      const found = await machine.output(replica.spec?.replicaId ?? "");
      return found.length === 7 && found;
    }, "seven lines");
    expect(lines).toContain("SigIgn:\t0000000000000000");
    expect(lines).toContain("SigBlk:\t0000000000000000");
    expect(lines.at(-1)).toBe("/dev/null");
    // A heading, 0, 1, 2 and the directory itself.
    expect(lines.at(-2)).toBe("5");
  });
});

describe.concurrent.each(identities)("a replica that forks forever, kept by %s", (identity) => {
  test("is stopped by its process limit, does not hurt others, and can be ended", { timeout: 60_000 }, async () => {
    await using machine = await TestMachine.open(identity);
    const digest = await machine.release({ "bomb.sh": 'while :; do sh "$0" & done; wait' });
    const bomb = await machine.startReplica(machine.spec(digest, "sh bomb.sh", { limits: { maxProcesses: 60 } }));
    const bombId = bomb.spec?.replicaId ?? "";
    await until(async () => (await machine.output(bombId)).some((line) => /fork/i.test(line)), "a refused fork");
    const other = await machine.run("echo fine; exec sleep 1000", { service: "other" });
    await until(async () => (await machine.output(other.spec?.replicaId ?? "")).includes("fine"), "the other replica");
    const { replica } = await machine.keeper.call("stopReplica", { replicaId: bombId, graceMs: 200n });
    expect(replica?.state).toBe(agent.ReplicaState.STOPPED);
    expect((await machine.replica(other.spec?.replicaId ?? ""))?.pid).toBe(other.pid);
  });
});

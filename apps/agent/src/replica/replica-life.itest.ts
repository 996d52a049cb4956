import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { identities, TestMachine, until } from "../../test/support/test-machine.ts";

const { LogStream, ReplicaState } = agent;
const idOf = (replica: agent.Replica) => replica.spec?.replicaId ?? "";

describe.concurrent.each(identities)("a replica kept by %s", (identity) => {
  test("runs in its release with its port and nothing of the operator's environment, and stops", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run("cat note.txt; env; echo end; exec sleep 1000", {
      env: { GREETING: "it's $HOME" },
    });
    expect(replica.lastExit?.launchError ?? "").toBe("");
    expect(replica.state).toBe(ReplicaState.RUNNING);
    const lines = await until(async () => {
      const found = await machine.output(idOf(replica));
      return found.includes("end") && found;
    }, "the replica's output");
    expect(lines).toContain("hello");
    expect(lines).toContain("GREETING=it's $HOME");
    expect(lines).toContain(`PORT=${replica.port}`);
    expect(lines).toContain(`HMS_REPLICA=${idOf(replica)}`);
    expect(lines.join("\n")).not.toContain("OPERATOR_SECRET");
    await until(() => readFileSync(`/proc/${replica.pid}/cmdline`, "latin1").startsWith("sleep"), "the last command");
    const stopped = await machine.keeper.call("stopReplica", { replicaId: idOf(replica) });
    expect(stopped.replica?.state).toBe(ReplicaState.STOPPED);
    expect(stopped.replica?.lastExit?.signal).toBe("SIGTERM");
    expect(await machine.replica(idOf(replica))).toBeUndefined();
    expect(readdirSync(`${machine.data}/run/replicas`)).toEqual([]);
    expect(await machine.output(idOf(replica))).toContain("hello");
    await machine.keeper.call("stopReplica", { replicaId: idOf(replica), deleteLogs: true });
    expect(await machine.lines(idOf(replica))).toEqual([]);
  });

  test("is started again with growing delays and the same port, its exits in view", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run("echo port $PORT; exit 5");
    const pauses: number[] = [];
    for await (const { replica: now } of machine.keeper.stream("watchReplicas", {})) {
      if (now?.state !== ReplicaState.BACKING_OFF || pauses.length >= now.restarts) continue;
      expect(now.lastExit).toMatchObject({ code: 5, signal: "", launchError: "" });
      pauses.push(timestampMs(now.nextStartAt!) - timestampMs(now.lastExit!.exitedAt!));
      if (pauses.length === 3) break;
    }
    for (const [index, least] of [375, 750, 1500].entries()) expect(pauses[index]).toBeGreaterThanOrEqual(least);
    const lines = await machine.lines(idOf(replica));
    const ports = lines.map((line) => line.text).filter((text) => text.startsWith("port"));
    expect(new Set(ports)).toEqual(new Set([`port ${replica.port}`]));
    const notes = lines.filter((line) => line.stream === LogStream.SYSTEM).map((line) => line.text);
    expect(notes).toContain("exited with code 5");
  });

  test("says why a command cannot be started", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run("no-such-program --serve");
    const failed = await until(async () => {
      const now = await machine.replica(idOf(replica));
      return now?.lastExit && now;
    }, "the end");
    expect(failed.lastExit?.code).toBe(127);
    expect(failed.lastExit?.launchError).toMatch(/not found.*Nothing named "no-such-program" is on PATH/);
  });

  test("is started again and can be stopped when a program behind its first command is missing", async () => {
    await using machine = await TestMachine.open(identity);
    const digest = await machine.release({ "env.sh": "A=1\n" });
    const replica = await machine.startReplica(machine.spec(digest, ". ./env.sh && no-such-program"));
    const failed = await until(async () => {
      const now = await machine.replica(idOf(replica));
      return now !== undefined && now.restarts > 0 && now;
    }, "another start");
    expect(failed.lastExit?.launchError).toMatch(/no-such-program: not found/);
    const stopped = await machine.keeper.call("stopReplica", { replicaId: idOf(replica) });
    expect(stopped.replica?.state).toBe(ReplicaState.STOPPED);
  });

  test("says why it does not start on a port that another program took", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run("sleep 0.3; exit 1");
    await until(async () => (await machine.replica(idOf(replica)))?.state === ReplicaState.BACKING_OFF, "the back-off");
    const squatter = createServer().listen(replica.port, "127.0.0.1");
    await until(
      async () => /Port \d+.*another program/.test((await machine.replica(idOf(replica)))?.lastExit?.launchError ?? ""),
      "the complaint",
    );
    squatter.close();
    await until(async () => (await machine.replica(idOf(replica)))?.lastExit?.launchError === "", "another run");
  });

  test("gets a port of its own, even if many start at once", async () => {
    await using machine = await TestMachine.open(identity);
    const digest = await machine.release({ note: "n" });
    const specs = Array.from({ length: 8 }, () => machine.spec(digest, "exec sleep 1000"));
    const replicas = await Promise.all(specs.map((spec) => machine.startReplica(spec)));
    expect(new Set(replicas.map(({ port }) => port)).size).toBe(8);
    expect(replicas.every(({ state }) => state === ReplicaState.RUNNING)).toBe(true);
    const again = await machine.startReplica(specs[0]!);
    expect(again.pid).toBe(replicas[0]?.pid);
    await expect(machine.startReplica({ ...specs[0], command: "other" })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
    });
  });
});

describe.concurrent("two callers at once", () => {
  test("start one replica, and the impatient one of two that stop it has its way", async () => {
    await using machine = await TestMachine.open(identities[0] ?? "nobody");
    const digest = await machine.release({ note: "n" });
    const spec = machine.spec(digest, 'trap "" TERM; echo up; while :; do sleep 0.05; done', { stopGraceMs: 60_000n });
    const [one, two] = await Promise.all([machine.startReplica(spec), machine.startReplica(spec)]);
    expect(one.pid).toBe(two.pid);
    await until(async () => (await machine.output(idOf(one))).includes("up"), "the replica's start");
    const patient = machine.keeper.call("stopReplica", { replicaId: idOf(one) });
    await until(async () => (await machine.replica(idOf(one)))?.state === ReplicaState.STOPPING, "the stop");
    await machine.keeper.call("stopReplica", { replicaId: idOf(one), graceMs: 0n });
    expect((await patient).replica).toMatchObject({ state: ReplicaState.STOPPED, lastExit: { signal: "SIGKILL" } });
    expect((await machine.startReplica(spec)).state).toBe(ReplicaState.RUNNING);
  });
});

describe.concurrent.each(identities)("after the death of the agent of %s, the next one", (identity) => {
  test("adopts what runs and loses no line that was written meanwhile", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run("i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.02; done");
    await until(async () => (await machine.output(idOf(replica))).length > 3, "the first ticks");
    await machine.keeper.crash();
    await machine.start();
    const adopted = await machine.replica(idOf(replica));
    expect(adopted).toMatchObject({ pid: replica.pid, port: replica.port, adopted: true, restarts: 0 });
    const before = (await machine.output(idOf(replica))).length;
    await until(async () => (await machine.output(idOf(replica))).length > before + 3, "ticks after the adoption");
    const ticks = (await machine.output(idOf(replica))).map((line) => Number(line.split(" ")[1]));
    // A crash may swallow what the old agent had read and not yet stored, nothing else.
    const gaps = ticks.slice(1).filter((tick, index) => tick !== (ticks[index] ?? 0) + 1);
    expect(gaps.length).toBeLessThanOrEqual(1);
    await machine.keeper.call("stopReplica", { replicaId: idOf(replica) });
  });

  test("finds a replica that wrote much meanwhile and never had to wait for a reader", async () => {
    await using machine = await TestMachine.open(identity);
    const wait = "trap 'go=1' USR1; echo up; while [ -z \"$go\" ]; do sleep 0.02; done";
    const replica = await machine.run(`${wait}; head -c 900000 /dev/zero | tr '\\0' x; echo; exec sleep 1000`);
    await until(async () => (await machine.output(idOf(replica))).includes("up"), "the replica's start");
    await machine.keeper.crash();
    process.kill(Number(replica.pid), "SIGUSR1");
    await until(() => readFileSync(`/proc/${replica.pid}/cmdline`, "latin1").startsWith("sleep"), "the end of writing");
    await machine.start();
    const written = async () => (await machine.output(idOf(replica))).reduce((sum, line) => sum + line.length, 0);
    await until(async () => (await written()) === 900_002, "all that was written");
  });

  test("notices the end of an adopted replica and starts it again", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run("exec sleep 1000");
    await machine.keeper.crash();
    await machine.start();
    process.kill(Number(replica.pid), "SIGKILL");
    const again = await until(async () => {
      const now = await machine.replica(idOf(replica));
      return now?.restarts === 1 && now.state === ReplicaState.RUNNING && now;
    }, "the restart");
    expect(again.lastExit?.signal).toBe("SIGKILL");
    expect(again.port).toBe(replica.port);
  });

  test("knows how a replica ended while no agent was there", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run("sleep 1.2; exit 42");
    await machine.keeper.crash();
    await until(() => !exists(replica.pid), "the replica's end");
    await machine.start();
    const again = await until(async () => {
      const now = await machine.replica(idOf(replica));
      return now?.restarts === 1 && now;
    }, "the restart");
    expect(again.lastExit?.code).toBe(42);
    const texts = (await machine.lines(idOf(replica))).map((line) => line.text);
    expect(texts).toContain("exited with code 42, while no agent was running");
  });

  test("starts everything at once with the same ports after a reboot of the machine", async () => {
    await using machine = await TestMachine.open(identity);
    const digest = await machine.release({ note: "n" });
    const specs = [1, 2, 3].map(() => machine.spec(digest, "echo up; exec sleep 1000"));
    const before = await Promise.all(specs.map((spec) => machine.startReplica(spec)));
    await machine.keeper.crash();
    for (const { pid } of before) process.kill(Number(pid), "SIGKILL");
    await until(() => before.every(({ pid }) => !exists(pid)), "the end of all");
    reboot(machine.data);
    await machine.start();
    for (const replica of before) {
      const now = await until(async () => {
        const found = await machine.replica(idOf(replica));
        return found?.state === ReplicaState.RUNNING && found;
      }, "the start");
      expect(now).toMatchObject({ port: replica.port, restarts: 0, adopted: false });
    }
  });

  test("finishes a stop that was under way", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run('trap "" TERM; echo up; while :; do sleep 0.1; done', { stopGraceMs: 60_000n });
    await until(async () => (await machine.output(idOf(replica))).includes("up"), "the replica's start");
    machine.keeper.call("stopReplica", { replicaId: idOf(replica) }).catch(() => {});
    await until(async () => (await machine.replica(idOf(replica)))?.state === ReplicaState.STOPPING, "the stop");
    await machine.keeper.crash();
    expect(exists(replica.pid)).toBe(true);
    const journal = `${machine.data}/agent/replicas`;
    expect(readdirSync(journal).some((name) => name.endsWith(".stopping.json"))).toBe(true);
    const [name = ""] = readdirSync(journal).filter((each) => each.endsWith(".stopping.json"));
    const text = readFileSync(`${journal}/${name}`, "utf8").replace('"60000"', '"100"');
    writeFileSync(`${journal}/${name}`, text);
    await machine.start();
    await until(async () => (await machine.replica(idOf(replica))) === undefined, "the end of the stop");
    expect(exists(replica.pid)).toBe(false);
    expect(readdirSync(journal)).toEqual([]);
  });

  test("starts what an orderly shutdown ended", async () => {
    await using machine = await TestMachine.open(identity);
    const replica = await machine.run("echo up; exec sleep 1000");
    await machine.keeper.command("suspend");
    expect(exists(replica.pid)).toBe(false);
    await machine.keeper.crash();
    await machine.start();
    const again = await until(async () => {
      const found = await machine.replica(idOf(replica));
      return found?.state === ReplicaState.RUNNING && found;
    }, "the start");
    expect(again).toMatchObject({ port: replica.port, restarts: 0 });
  });

  test("sets a spoilt file aside, says so, and keeps the others", async () => {
    await using machine = await TestMachine.open(identity);
    const [good, bad] = [await machine.run("exec sleep 1000"), await machine.run("exec sleep 1000")];
    await machine.keeper.crash();
    const path = `${machine.data}/agent/replicas/${idOf(bad).replaceAll("/", "~")}.json`;
    writeFileSync(path, '{"slot": 1, "spec": {"replica');
    await machine.start();
    expect(machine.keeper.warnings.join()).toContain(`${path}.spoilt`);
    expect((await machine.replica(idOf(good)))?.pid).toBe(good.pid);
    expect(await machine.replica(idOf(bad))).toBeUndefined();
    await until(() => !exists(bad.pid), "the end of what nobody knows");
  });
});

function exists(pid: bigint): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

/** Makes everything on disk look as if the machine had been another run of itself. */
function reboot(data: string): void {
  const now = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const other = "00000000-0000-0000-0000-000000000000";
  const files = [
    ...readdirSync(`${data}/run/replicas`).map((name) => `${data}/run/replicas/${name}/status`),
    ...readdirSync(`${data}/agent/replicas`).map((name) => `${data}/agent/replicas/${name}`),
  ];
  for (const file of files) writeFileSync(file, readFileSync(file, "latin1").replaceAll(now, other), "latin1");
}

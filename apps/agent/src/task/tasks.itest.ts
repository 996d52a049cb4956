import { readdirSync } from "node:fs";
import { agent } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { identities, running, TestMachine, uniqueSeconds, until } from "../../test/support/test-machine.ts";

describe.concurrent.each(identities)("a task run by %s", (identity) => {
  test("sends its output as it comes, apart, and how it ended last", async () => {
    await using machine = await TestMachine.open(identity);
    const releaseDigest = await machine.release({ "note.txt": "hello\n" });
    const task = await machine.task('cat note.txt; echo "$GREETING" >&2; echo $HMS_TASK; exit 9', {
      releaseDigest,
      env: { GREETING: "hi" },
    });
    expect(task.out).toMatch(/^hello\nt\d+\n$/);
    expect(task.err).toBe("hi\n");
    expect(task.exit).toMatchObject({ code: 9, signal: "", launchError: "" });
    const killed = await machine.task("kill -9 $$", { releaseDigest });
    expect(killed.exit).toMatchObject({ code: -1, signal: "SIGKILL" });
    const large = await machine.task("head -c 5000000 /dev/zero", { releaseDigest });
    expect(large.out.length).toBe(5_000_000);
    expect(readdirSync(`${machine.data}/run/tasks`)).toEqual([]);
  });

  test("is ended with all it started when the caller leaves or its time is over", async () => {
    await using machine = await TestMachine.open(identity);
    const releaseDigest = await machine.release({ note: "n" });
    const seconds = uniqueSeconds();
    const command = `setsid -f sleep ${seconds}; trap "" TERM; echo begun; sleep ${seconds}`;
    const cancel = new AbortController();
    const request = { taskId: "one", environment: "test", service: "demo", releaseDigest, command };
    const left = (async () => {
      for await (const { event } of machine.keeper.stream("runTask", request, cancel.signal)) {
        if (event.case !== "output") continue;
        await until(() => running(seconds) === 2, "both processes");
        cancel.abort();
      }
    })();
    await expect(left).rejects.toMatchObject({ code: "CANCELLED" });
    expect(running(seconds)).toBe(0);
    const late = machine.task(command, { releaseDigest, timeoutMs: 400n });
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", message: expect.stringContaining("0.4 s") });
    expect(running(seconds)).toBe(0);
  });

  test("does not outlive the agent that ran it for long", async () => {
    await using machine = await TestMachine.open(identity);
    const releaseDigest = await machine.release({ note: "n" });
    const seconds = uniqueSeconds();
    machine.task(`sleep ${seconds}`, { releaseDigest }).catch(() => {});
    await until(() => running(seconds) === 1, "the task");
    await machine.keeper.crash();
    await machine.start();
    expect(running(seconds)).toBe(0);
    expect(readdirSync(`${machine.data}/run/tasks`)).toEqual([]);
  });
});

describe.concurrent("names", () => {
  test("that could become paths are refused everywhere", async () => {
    await using machine = await TestMachine.open(identities[0] ?? "nobody");
    const { keeper } = machine;
    const digest = await machine.release({ note: "n" });
    const good = machine.spec(digest, "true");
    for (const bad of ["../x", "..", "a/b", "", "a\0b", "A", "x".repeat(64), "a b"]) {
      const calls: Promise<unknown>[] = [
        machine.startReplica({ ...good, replicaId: `test/demo/1/${bad}` }),
        machine.startReplica({ ...good, replicaId: bad }),
        machine.startReplica({ ...good, service: bad, replicaId: `test/${bad}/1/0-a` }),
        machine.startReplica({ ...good, environment: bad, replicaId: `${bad}/demo/1/0-a` }),
        machine.startReplica({ ...good, releaseDigest: `sha256:${bad}` }),
        keeper.call("stopReplica", { replicaId: `${bad}/demo/1/0-a`, deleteLogs: true }),
        keeper.call("pruneReleases", { environment: "test", service: bad }),
        keeper.call("pruneReleases", { environment: "test", service: "demo", keepDigests: [bad] }),
        keeper.call("prepareRelease", { environment: bad, service: "demo", sourceDirectory: machine.root }),
        machine.task("true", { releaseDigest: digest, taskId: bad }),
        machine.task("true", { releaseDigest: digest, service: bad }),
        machine.lines("", { replicaId: bad === "" ? "x" : bad }),
        machine.lines("", { environment: bad === "" ? ".." : bad }),
      ];
      for (const [index, call] of (await Promise.allSettled(calls)).entries()) {
        expect(call, `${JSON.stringify(bad)} in call ${index}`).toMatchObject({
          status: "rejected",
          reason: { code: "INVALID_ARGUMENT" },
        });
      }
    }
    await expect(machine.startReplica({ ...good, env: { "A-B": "1" } })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(machine.startReplica({ ...good, revision: 2n })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(machine.keeper.report.isolation).not.toBe(agent.Isolation.UNSPECIFIED);
  });
});

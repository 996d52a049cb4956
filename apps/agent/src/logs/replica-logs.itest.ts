import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { agent } from "@hms/contracts";
import { machineSlowness } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { identities, TestMachine, until } from "../../test/support/test-machine.ts";

const { LogStream } = agent;
const idOf = (replica: agent.Replica) => replica.spec?.replicaId ?? "";
const identity = identities[0] ?? "nobody";

describe("the log of a replica", () => {
  test("keeps stdout, stderr and the agent's remarks apart, with times", async () => {
    await using machine = await TestMachine.open(identity);
    const before = Date.now();
    const replica = await machine.run("echo one; echo two >&2; printf unfinished; exec sleep 1000");
    await until(async () => (await machine.output(idOf(replica))).length >= 2, "two lines");
    await machine.keeper.call("stopReplica", { replicaId: idOf(replica) });
    const lines = await machine.lines(idOf(replica));
    const of = (stream: agent.LogStream) => lines.filter((line) => line.stream === stream).map((line) => line.text);
    expect(of(LogStream.STDOUT)).toEqual(["one", "unfinished"]);
    expect(of(LogStream.STDERR)).toEqual(["two"]);
    expect(of(LogStream.SYSTEM)).toEqual([expect.stringMatching(/^started: pid \d+, port \d+$/), "ended by SIGTERM"]);
    const times = lines.map(({ time }) => Number(time?.seconds ?? 0n) * 1000);
    expect(times.every((time) => time >= before - 1000 && time <= Date.now())).toBe(true);
  });

  test("rotates, answers tail, since and contains over the files, and never holds more than it may", async () => {
    await using machine = await TestMachine.open(identity, { options: { retention: { fileBytes: 20_000, files: 3 } } });
    const replica = await machine.run(
      "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; exec sleep 1000",
    );
    const replicaId = idOf(replica);
    await until(async () => (await machine.output(replicaId)).at(-1) === "line 20000", "the last line");
    const directory = `${machine.data}/logs/${replicaId}`;
    const files = readdirSync(directory);
    expect(files).toHaveLength(3);
    // A file may pass its size by one batch of lines.
    const bytes = files.map((name) => statSync(`${directory}/${name}`).size);
    expect(Math.max(...bytes)).toBeLessThan(20_000 + 256 * 1024);
    const all = await machine.output(replicaId);
    expect(all.length).toBeLessThan(20_000);
    expect(all.at(-1)).toBe("line 20000");
    const tail = await machine.lines(replicaId, { tail: 700 });
    expect(tail.map((line) => line.text)).toEqual(all.slice(-700));
    const some = await machine.lines(replicaId, { contains: "1999", tail: 3 });
    expect(some.map((line) => line.text)).toEqual(["line 19997", "line 19998", "line 19999"]);
    const future = timestampFromMs(Date.now() + 60_000);
    expect(await machine.lines(replicaId, { since: future })).toEqual([]);
    expect(await machine.lines(replicaId, { since: future, tail: 5 })).toEqual([]);
  });

  test("stores a line of 10 MB in pieces that fit together", { timeout: 30_000 }, async () => {
    await using machine = await TestMachine.open(identity);
    const command = "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo after; exec sleep 1000";
    const replica = await machine.run(command);
    await until(async () => (await machine.lines(idOf(replica), { tail: 1 }))[0]?.text === "after", "the line after");
    const lines = (await machine.lines(idOf(replica))).filter((line) => line.stream === LogStream.STDOUT);
    const long = lines.slice(0, -1);
    expect(long.every((line, index) => line.continues === index < long.length - 1)).toBe(true);
    expect(long.every((line) => line.text.length <= 65_536)).toBe(true);
    expect(long.reduce((sum, line) => sum + line.text.length, 0)).toBe(10_000_000);
  });

  test("can be followed over rotations, over replicas that come later, until cancelled", async () => {
    await using machine = await TestMachine.open(identity, { options: { retention: { fileBytes: 3000, files: 50 } } });
    const count =
      "i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo $HMS_REPLICA $i; [ $((i%40)) = 0 ] && sleep 0.02; done";
    const digest = await machine.release({ note: "n" });
    const specs = [1, 2].map(() => machine.spec(digest, `${count}; exec sleep 1000`));
    const cancel = new AbortController();
    const seen: string[] = [];
    let caughtUp = 0;
    const follow = (async () => {
      const request = { environment: "test", service: "demo", follow: true };
      for await (const message of machine.keeper.stream("readLogs", request, cancel.signal)) {
        if (message.caughtUp) caughtUp += 1;
        seen.push(...message.lines.filter((line) => line.stream === LogStream.STDOUT).map((line) => line.text));
      }
    })();
    await machine.startReplica(specs[0]!);
    await until(() => seen.length > 10, "the first replica's lines");
    await machine.startReplica(specs[1]!);
    await until(() => seen.length >= 1200, "all lines of both");
    cancel.abort();
    await expect(follow).rejects.toMatchObject({ code: "CANCELLED" });
    expect(caughtUp).toBe(1);
    for (const spec of specs) {
      const numbers = seen
        .filter((line) => line.startsWith(`${spec.replicaId} `))
        .map((line) => Number(line.split(" ")[1]));
      expect(numbers).toEqual(Array.from({ length: 600 }, (_, index) => index + 1));
    }
    const others = machine.keeper.stream("readLogs", { environment: "test", service: "nobody-there" });
    for await (const message of others) expect(message.lines).toEqual([]);
  });

  test("is read in little memory, however much there is, and as slowly as the reader likes", {
    timeout: 60_000,
  }, async () => {
    await using machine = await TestMachine.open(identity);
    const directory = `${machine.data}/logs/test/demo/1/0-big`;
    mkdirSync(directory, { recursive: true });
    for (let file = 1; file <= 10; file++) {
      const line = (index: number) =>
        `17321340${String(file * 100_000 + index)
          .padStart(8, "0")
          .slice(-5)} o ${"x".repeat(83)}\n`;
      const needle = `1732134099999 o needle ${file}\n`;
      const lines = Array.from({ length: 99_999 }, (_, index) => line(index)).join("");
      writeFileSync(`${directory}/${String(file).padStart(8, "0")}.log`, lines + needle);
    }
    machine.own(machine.data);
    const rss = async () => ((await machine.keeper.command("memory")) as { rss: number }).rss;
    const before = await rss();
    const found = await machine.lines("test/demo/1/0-big", { contains: "needle" });
    expect(found.map((line) => line.text)).toEqual(Array.from({ length: 10 }, (_, index) => `needle ${index + 1}`));
    const tail = await machine.lines("test/demo/1/0-big", { tail: 3 });
    expect(tail.map((line) => line.text)).toEqual(["x".repeat(83), "x".repeat(83), "needle 10"]);
    for await (const message of machine.keeper.stream("readLogs", { replicaId: "test/demo/1/0-big" })) {
      expect(message.lines.length).toBeLessThanOrEqual(500);
      break;
    }
    expect((await rss()) - before).toBeLessThan(80 * 1024 * 1024);
  });

  test("merges replicas by time, and a tail counts over all of them", async () => {
    await using machine = await TestMachine.open(identity);
    const digest = await machine.release({ note: "n" });
    const command = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done; exec sleep 1000";
    const specs = [1, 2, 3].map(() => machine.spec(digest, command));
    await Promise.all(specs.map((spec) => machine.startReplica(spec)));
    // The agent's own remark of a start names a pid, which may contain any digit.
    const isLast = ({ stream, text }: agent.LogLine) => stream === LogStream.STDOUT && text === "6";
    await until(
      async () => (await machine.lines("", { service: "demo", contains: "6" })).filter(isLast).length === 3,
      "all lines",
    );
    const all = await machine.lines("", { environment: "test", service: "demo" });
    const times = all.map(({ time }) => Number(time?.seconds) * 1e9 + Number(time?.nanos));
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const tail = await machine.lines("", { service: "demo", tail: 4 });
    expect(tail).toHaveLength(4);
    expect(tail.map((line) => line.text)).toEqual(all.slice(-4).map((line) => line.text));
  });
});

describe("a replica that writes without end", () => {
  test("is made to wait: the agent's memory, its processor time and its neighbours do not suffer", {
    timeout: 60_000,
  }, async () => {
    await using machine = await TestMachine.open(identity, {
      options: { retention: { fileBytes: 2_000_000, files: 3 } },
    });
    const usage = async () =>
      (await machine.keeper.command("memory")) as { rss: number; cpu: { user: number; system: number } };
    const quiet = await machine.run("while :; do date +%s%N; sleep 0.05; done", { service: "quiet" });
    const before = await usage();
    const flood = await machine.run("exec cat /dev/zero", { service: "flood" });
    const short = await machine.run("exec yes", { service: "short" });
    const from = performance.now();
    await until(() => performance.now() - from > 4000, "four seconds of flood");
    const { rss, cpu } = await usage();
    const seconds = (performance.now() - from) / 1000;
    const used = (cpu.user + cpu.system - before.cpu.user - before.cpu.system) / 1e6;
    expect(used / seconds).toBeLessThan(0.8);
    expect(rss - before.rss).toBeLessThan(120 * 1024 * 1024);
    for (const replica of [flood, short]) {
      expect(read(`/proc/${replica.pid}/stat`)).toMatch(/^\d+ \(.*\) [SRD]/);
      const directory = `${machine.data}/logs/${idOf(replica)}`;
      const bytes = readdirSync(directory).reduce((sum, name) => sum + statSync(`${directory}/${name}`).size, 0);
      expect(bytes).toBeLessThan(8_000_000);
    }
    const slowness = await machineSlowness();
    const stamps = await machine.lines(idOf(quiet), { tail: 20 });
    const late = stamps.map(
      ({ text, time }) => Number(time?.seconds) * 1e3 + Number(time?.nanos) / 1e6 - Number(text) / 1e6,
    );
    expect(Math.max(...late)).toBeLessThan(1000 * slowness);
    await Promise.all([flood, short].map((each) => machine.keeper.call("stopReplica", { replicaId: idOf(each) })));
    process.stdout.write(
      `flood: ${used.toFixed(2)} CPU-s in ${seconds.toFixed(1)} s, +${Math.round((rss - before.rss) / 1e6)} MB\n`,
    );
  });
});

const read = (path: string) => readFileSync(path, "latin1");

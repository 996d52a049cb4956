import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { agent } from "@hms/contracts";
import { isThorough } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { identities, TestMachine, uniqueSeconds, until } from "../../test/support/test-machine.ts";

interface Prepared {
  lines: string[];
  release: agent.Release | undefined;
}

async function prepare(machine: TestMachine, sourceDirectory: string, more: object = {}): Promise<Prepared> {
  const prepared: Prepared = { lines: [], release: undefined };
  const request = { environment: "test", service: "demo", sourceDirectory, ...more };
  for await (const { event } of machine.keeper.stream("prepareRelease", request)) {
    if (event.case === "outputLine") prepared.lines.push(event.value);
    if (event.case === "release") prepared.release = event.value;
  }
  return prepared;
}

const folder = (machine: TestMachine) => `${machine.data}/releases/test/demo`;
const stored = (machine: TestMachine) => (existsSync(folder(machine)) ? readdirSync(folder(machine)) : []);

describe.concurrent.each(identities)("a release prepared by %s", (identity) => {
  test("is built in the place where it will run, readable by its replica and immutable", async () => {
    await using machine = await TestMachine.open(identity);
    const source = machine.source({ "run.sh": "#!/bin/sh\necho ran $(cat where)", "sub/private.txt": "private" });
    chmodSync(`${source}/sub/private.txt`, 0o600);
    const buildCommand =
      'echo "building $WHAT" >&2; pwd > where; mkdir out; echo x > out/made; chmod -R go-rwx out; touch /tmp/t';
    const { lines, release } = await prepare(machine, source, { buildCommand, env: { WHAT: "it" } });
    expect(lines).toEqual(["building it"]);
    expect(release?.reused).toBe(false);
    const command = "./run.sh; cat sub/private.txt out/made; touch planted; rm run.sh; echo over; exec sleep 1000";
    const replica = await machine.startReplica(machine.spec(release?.digest ?? "", command));
    const output = await until(async () => {
      const found = await machine.output(replica.spec?.replicaId ?? "");
      return found.includes("over") && found;
    }, "the program's end");
    expect(output[0]).toBe(`ran ${folder(machine)}/${release?.digest.slice("sha256:".length)}`);
    expect(output).toContain("privatex");
    expect(output.filter((line) => /Read-only file system/.test(line))).toHaveLength(2);
  });

  test("reaches registries the way the operator does, and nothing else of the operator's environment", async () => {
    const seen = {
      https_proxy: "http://proxy:3128",
      npm_config_registry: "http://registry/",
      SSL_CERT_FILE: "/etc/passwd",
    };
    const machine = new TestMachine(identity);
    await using _ = machine;
    const hidden = `${machine.home}/ca.pem`;
    await machine.start({ env: { ...seen, NODE_EXTRA_CA_CERTS: hidden, AWS_SECRET_ACCESS_KEY: "theirs" } });
    writeFileSync(hidden, "theirs");
    const source = machine.source({ a: "a" });
    const request = { buildCommand: "env | sort; env > seen", env: { https_proxy: "http://mine" } };
    const { lines, release } = await prepare(machine, source, request);
    expect(lines[0]).toBe(`not passed on: NODE_EXTRA_CA_CERTS=${hidden}, which services may not read`);
    const names = lines.slice(1).map((text) => text.split("=")[0]);
    expect(names).toEqual(
      expect.arrayContaining(["HMS_ENVIRONMENT", "HMS_SERVICE", "HOME", "PATH", ...Object.keys(seen)].sort()),
    );
    expect(names).not.toContain("AWS_SECRET_ACCESS_KEY");
    expect(lines).toContain("https_proxy=http://mine");
    const { spec } = await machine.startReplica(machine.spec(release?.digest ?? "", "env; echo over; exec sleep 1000"));
    const output = await until(async () => {
      const found = await machine.output(spec?.replicaId ?? "");
      return found.includes("over") && found;
    }, "the program's end");
    expect(output.filter((text) => /^(?:https_proxy|npm_config|SSL_CERT)/.test(text))).toEqual([]);
  });

  test("that fails to build says why, and leaves nothing behind", async () => {
    await using machine = await TestMachine.open(identity);
    const source = machine.source({ a: "a" });
    const buildCommand = "for i in $(seq 30); do echo step $i; done; exit 3";
    const failure = await prepare(machine, source, { buildCommand }).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("exited with code 3"),
    });
    const { output } = (failure as { details: { metadata: { output: string } } }).details.metadata;
    expect(output.split("\n")).toEqual(Array.from({ length: 20 }, (_, index) => `step ${index + 11}`));
    expect(stored(machine)).toEqual([]);
    const missing = await prepare(machine, source, { buildCommand: "no-such-tool install" }).catch(
      (error: unknown) => error,
    );
    expect(missing).toMatchObject({ message: expect.stringContaining('Nothing named "no-such-tool" is on PATH') });
  });

  test("is not visible when the agent dies in the middle, and its build ends", async () => {
    await using machine = await TestMachine.open(identity);
    const source = machine.source({ a: "a" });
    const seconds = uniqueSeconds();
    const preparing = prepare(machine, source, { buildCommand: `echo x > b; sleep ${seconds}` });
    preparing.catch(() => {});
    const tasks = `${machine.data}/run/tasks`;
    await until(
      () => existsSync(tasks) && readdirSync(tasks).length === 1 && stored(machine).length === 1,
      "the build",
    );
    await machine.keeper.crash();
    await machine.start();
    expect(readdirSync(tasks)).toEqual([]);
    expect(stored(machine)).toEqual([]);
    const { release } = await prepare(machine, source, { buildCommand: "echo y > b" });
    expect(release?.reused).toBe(false);
  });

  test("ends with its build when the caller leaves", async () => {
    await using machine = await TestMachine.open(identity);
    const cancel = new AbortController();
    const sourceDirectory = machine.source({ a: "a" });
    const request = { environment: "test", service: "demo", sourceDirectory, buildCommand: "echo begun; sleep 1000" };
    const work = (async () => {
      for await (const { event } of machine.keeper.stream("prepareRelease", request, cancel.signal)) {
        if (event.case === "outputLine") cancel.abort();
      }
    })();
    await expect(work).rejects.toMatchObject({ code: "CANCELLED" });
    expect(readdirSync(`${machine.data}/run/tasks`)).toEqual([]);
    expect(stored(machine)).toEqual([]);
  });

  test("ends with its build when the caller leaves while the build is being launched", async () => {
    await using machine = await TestMachine.open(identity);
    const cancel = new AbortController();
    const sourceDirectory = machine.source({ a: "a" });
    const request = { environment: "test", service: "demo", sourceDirectory, buildCommand: "sleep 1000" };
    const work = (async () => {
      for await (const _ of machine.keeper.stream("prepareRelease", request, cancel.signal));
    })();
    const tasks = `${machine.data}/run/tasks`;
    for (let begun = false; !begun; await delay(1)) begun = existsSync(tasks) && readdirSync(tasks).length > 0;
    cancel.abort();
    await expect(work).rejects.toMatchObject({ code: "CANCELLED" });
    expect((await prepare(machine, sourceDirectory, { buildCommand: "true" })).release?.reused).toBe(false);
  });

  test("is not waited for by a caller who leaves, and those behind still wait their turn", async () => {
    await using machine = await TestMachine.open(identity);
    const sourceDirectory = machine.source({ a: "a" });
    const first = prepare(machine, sourceDirectory, { buildCommand: "echo begun; sleep 3" });
    const tasks = `${machine.data}/run/tasks`;
    await until(() => existsSync(tasks) && readdirSync(tasks).length === 1, "the build");
    const ended: string[] = [];
    const firstEnded = first.then(() => ended.push("first"));
    const cancel = new AbortController();
    const request = { environment: "test", service: "demo", sourceDirectory, buildCommand: "true" };
    const waiting = (async () => {
      for await (const _ of machine.keeper.stream("prepareRelease", request, cancel.signal));
    })();
    setTimeout(() => cancel.abort(), 100);
    await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
    expect(ended).toEqual([]);
    await prepare(machine, sourceDirectory, { buildCommand: "true" });
    expect(ended).toEqual(["first"]);
    await firstEnded;
  });
});

describe.concurrent("a release", () => {
  const identity = identities[0] ?? "nobody";

  test("is the same for the same names, modes, contents and build command, and for nothing else", async () => {
    await using machine = await TestMachine.open(identity);
    const files = { "a.txt": "a", "dir/run.sh": "#!/bin/sh\necho hi" };
    const first = await prepare(machine, machine.source(files));
    const other = machine.source({ ...files, ".git/HEAD": "ref: main" });
    utimesSync(`${other}/a.txt`, 1, 1);
    const second = await prepare(machine, other);
    expect(second.release).toMatchObject({ digest: first.release?.digest, reused: true, fileCount: 2n });
    expect(first.release?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    const changed = [
      await prepare(machine, machine.source({ ...files, "a.txt": "b" })),
      await prepare(machine, machine.source({ ...files, "dir/run.sh": "echo hi\n#!/bin/sh" })),
      await prepare(machine, machine.source({ "b.txt": "a", "dir/run.sh": files["dir/run.sh"] })),
      await prepare(machine, other, { buildCommand: "true" }),
    ];
    chmodSync(`${other}/a.txt`, 0o755);
    changed.push(await prepare(machine, other));
    const digests = [first, ...changed].map(({ release }) => release?.digest);
    expect(new Set(digests).size).toBe(6);
    expect(changed.every(({ release }) => release?.reused === false)).toBe(true);
  });

  test("is prepared once when two callers want it at the same time", async () => {
    await using machine = await TestMachine.open(identity);
    const source = machine.source({ a: "a" });
    const both = [1, 2].map(() => prepare(machine, source, { buildCommand: "sleep 0.3; echo once" }));
    const [one, two] = await Promise.all(both);
    expect([one?.release?.reused, two?.release?.reused].sort()).toEqual([false, true]);
    expect(one?.release?.digest).toBe(two?.release?.digest);
  });

  test("keeps links that stay inside, refuses links that lead out, leaves sockets out", async () => {
    await using machine = await TestMachine.open(identity);
    const source = machine.source({ "dir/a.txt": "a" });
    symlinkSync("dir/a.txt", `${source}/relative`);
    symlinkSync(`${source}/dir`, `${source}/absolute`);
    symlinkSync("/usr/bin/env", `${source}/system`);
    const server = createServer().listen(`${source}/left.sock`);
    await until(() => existsSync(`${source}/left.sock`), "the socket");
    const { release, lines } = await prepare(machine, source);
    server.close();
    expect(lines).toEqual(["left out: left.sock is a socket, pipe or device"]);
    const { out } = await machine.task("cat relative absolute/a.txt; readlink absolute system", {
      releaseDigest: release?.digest ?? "",
    });
    expect(out).toBe("aadir\n/usr/bin/env\n");
    symlinkSync("../../etc/passwd", `${source}/dir/out`);
    symlinkSync(machine.home, `${source}/home`);
    await expect(prepare(machine, source)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringMatching(/dir\/out|home/),
    });
  });

  test("refuses sources that are too large, missing, or the platform's own", async () => {
    await using machine = await TestMachine.open(identity);
    const source = machine.source({ huge: "" });
    truncateSync(`${source}/huge`, 3 * 1024 ** 3);
    await expect(prepare(machine, source)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("2 GiB"),
    });
    for (const wrong of [
      "relative/path",
      `${machine.root}/missing`,
      `${source}/huge`,
      machine.data,
      machine.root,
      "/",
    ]) {
      await expect(prepare(machine, wrong)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
  });

  test("is pruned when no replica uses it and nobody wants to keep it", async () => {
    await using machine = await TestMachine.open(identity);
    const [used, kept, old] = [
      await machine.release({ a: "1" }),
      await machine.release({ a: "2" }),
      await machine.release({ a: "3" }),
    ];
    await machine.startReplica(machine.spec(used, "exec sleep 1000"));
    const request = { environment: "test", service: "demo", keepDigests: [kept] };
    const { removedDigests } = await machine.keeper.call("pruneReleases", request);
    expect(removedDigests).toEqual([old]);
    expect(stored(machine).sort()).toEqual(
      [used, kept].flatMap((digest) => [digest.slice(7), `${digest.slice(7)}.json`]).sort(),
    );
    await expect(machine.startReplica(machine.spec(old, "true"))).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
    });
  });

  test.skipIf(!isThorough)(
    "of five thousand files is copied and found again in reasonable time",
    { timeout: 60_000 },
    async () => {
      await using machine = await TestMachine.open(identity);
      const source = machine.source({ "package.json": "{}" });
      for (let folderIndex = 0; folderIndex < 50; folderIndex++) {
        mkdirSync(`${source}/node_modules/p${folderIndex}`, { recursive: true });
        for (let file = 0; file < 100; file++) {
          const text = createHash("md5").update(`${folderIndex}/${file}`).digest("hex");
          writeFileSync(`${source}/node_modules/p${folderIndex}/f${file}.js`, text.repeat(40));
        }
      }
      machine.own(source);
      const { release } = await prepare(machine, source);
      expect(release).toMatchObject({ fileCount: 5001n, reused: false });
      expect((await prepare(machine, source)).release?.reused).toBe(true);
    },
  );
});

import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import { type Identity, KeeperClient, type KeeperSetup } from "./keeper-client.ts";

/** The identities that the current user can test with. */
export const identities: Identity[] = process.getuid?.() === 0 ? ["root", "nobody"] : ["nobody"];
export const asRoot = process.getuid?.() === 0;

type SpecInit = Exclude<MessageInitShape<typeof agent.ReplicaSpecSchema>, { $typeName: string }>;
let lastName = 0;
let machines = 0;
const firstRange = Math.floor(Math.random() * 35_000);

/** Directories, keepers and replicas of one test, removed at its end. */
export class TestMachine implements AsyncDisposable {
  readonly root: string;
  readonly home: string;
  readonly data: string;
  readonly identity: Identity;
  /** Tests run side by side, and each uses a few ports only. */
  readonly portBase = 20_000 + ((firstRange + machines++ * 40) % 35_000);
  keeper!: KeeperClient;

  constructor(identity: Identity) {
    this.identity = identity;
    // Outside /tmp, where everything is hidden by the private /tmp already.
    this.root = mkdtempSync(`${asRoot ? "/var/lib" : tmpdir()}/hms-agent-`);
    chmodSync(this.root, 0o755);
    this.home = `${this.root}/home`;
    this.data = `${this.root}/data`;
    for (const directory of [this.home, this.data]) mkdirSync(directory, { mode: 0o700 });
    this.own(this.root);
  }

  static async open(identity: Identity, setup: Partial<KeeperSetup> = {}): Promise<TestMachine> {
    const machine = new TestMachine(identity);
    await machine.start(setup);
    return machine;
  }

  async start(setup: Partial<KeeperSetup> = {}): Promise<KeeperClient> {
    const { identity, data, home, portBase } = this;
    this.keeper = await KeeperClient.start({ identity, data, home, portBase, ...setup });
    return this.keeper;
  }

  own(path: string): void {
    if (this.identity === "nobody" && asRoot) execFileSync("chown", ["-R", "nobody:nogroup", path]);
  }

  /** Writes a program's directory. */
  source(files: Record<string, string>): string {
    const directory = `${this.root}/source-${++lastName}`;
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(`${directory}/${name}`), { recursive: true });
      writeFileSync(`${directory}/${name}`, text);
      if (text.startsWith("#!")) chmodSync(`${directory}/${name}`, 0o755);
    }
    this.own(directory);
    return directory;
  }

  /** Prepares a release and answers its digest. */
  async release(files: Record<string, string>, service = "demo"): Promise<string> {
    const request = { environment: "test", service, sourceDirectory: this.source(files) };
    for await (const { event } of this.keeper.stream("prepareRelease", request)) {
      if (event.case === "release") return event.value.digest;
    }
    throw new Error("no release");
  }

  /** A spec of a replica with an id of its own. */
  spec(releaseDigest: string, command: string, more: SpecInit = {}): SpecInit & { replicaId: string } {
    const service = more.service ?? "demo";
    const replicaId = `test/${service}/1/0-r${++lastName}`;
    return {
      replicaId,
      environment: "test",
      service,
      revision: 1n,
      releaseDigest,
      command,
      stopGraceMs: 2000n,
      ...more,
    };
  }

  async startReplica(spec: SpecInit): Promise<agent.Replica> {
    const { replica } = await this.keeper.call("startReplica", { spec });
    if (!replica) throw new Error("no replica");
    return replica;
  }

  /** Starts `command` in a release that holds nothing but a note. */
  async run(command: string, more: SpecInit = {}): Promise<agent.Replica> {
    const digest = await this.release({ "note.txt": "hello\n" }, more.service);
    return this.startReplica(this.spec(digest, command, more));
  }

  async replica(replicaId: string): Promise<agent.Replica | undefined> {
    for await (const { replica, synced } of this.keeper.stream("watchReplicas", {})) {
      if (replica?.spec?.replicaId === replicaId) return replica;
      if (synced) return undefined;
    }
    return undefined;
  }

  async lines(replicaId: string, more: object = {}): Promise<agent.LogLine[]> {
    const found: agent.LogLine[] = [];
    for await (const { lines } of this.keeper.stream("readLogs", { replicaId, ...more })) found.push(...lines);
    return found;
  }

  /** The texts that a replica itself wrote. */
  async output(replicaId: string): Promise<string[]> {
    const lines = await this.lines(replicaId);
    return lines.filter((line) => line.stream !== agent.LogStream.SYSTEM).map((line) => line.text);
  }

  async task(command: string, more: { releaseDigest: string } & Record<string, unknown>): Promise<TaskResult> {
    const request = { taskId: `t${++lastName}`, environment: "test", service: "demo", command, ...more };
    const result: TaskResult = { out: "", err: "", exit: undefined };
    for await (const { event } of this.keeper.stream("runTask", request)) {
      if (event.case === "exit") result.exit = event.value;
      if (event.case !== "output") continue;
      const text = Buffer.from(event.value.data).toString();
      if (event.value.stream === agent.LogStream.STDERR) result.err += text;
      else result.out += text;
    }
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.keeper.child.exitCode !== null || this.keeper.child.signalCode !== null) await this.start();
    for await (const { replica, synced } of this.keeper.stream("watchReplicas", {})) {
      const replicaId = replica?.spec?.replicaId;
      if (synced) break;
      if (replicaId) await this.keeper.call("stopReplica", { replicaId, graceMs: 0n });
    }
    await this.keeper.command("suspend");
    await this.keeper.crash();
    this.remove();
  }

  /** Removes the directories. */
  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** What a task did. */
export interface TaskResult {
  out: string;
  err: string;
  exit: agent.ExitStatus | undefined;
}

/** A duration for sleep that no other test uses: its processes can be counted. */
export function uniqueSeconds(): string {
  return `${100_000 + (process.pid % 10_000)}.${++lastName}`;
}

/** How many processes of the machine have this word in their command line. */
export function running(word: string): number {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes(word);
    } catch {
      return false;
    }
  }).length;
}

/** Asks until the answer is truthy; fails after the deadline. */
export async function until<T>(
  ask: () => Promise<T> | T,
  what: string,
  deadlineMs = 30_000,
): Promise<Exclude<T, false | undefined>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer as Exclude<T, false | undefined>;
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms in vain: ${what}`);
    await delay(25);
  }
}

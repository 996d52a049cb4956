import { type ChildProcess, type ChildProcessByStdio, fork, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { create, type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { median } from "./call/median.ts";
import { freshTicket, LOOKUP } from "./call/workload.ts";
import type { BenchOptions, BenchResult } from "./support/bench.ts";

const GRPCIO = ["grpcio==1.85.3", "protobuf==7.36.2"];

/** Which client calls which of the servers of the call bench. */
const PAIRS = { hms: "hms_frames", hms_json: "hms_frames", grpcio: "grpc_js" } as const;
type Name = keyof typeof PAIRS;

interface Round {
  calls: number;
  p50Us: number;
  p99Us: number;
  cpuUs: number;
}

interface Contender {
  name: Name;
  server: ChildProcess;
  client: ChildProcessByStdio<Writable, Readable, null>;
  answers: AsyncIterator<string>;
}

const can = (python: string, what: string) =>
  spawnSync(python, ["-c", `import ${what}`], { stdio: "ignore" }).status === 0;

/** A Python with grpcio: HMS_BENCH_PYTHON, the one of the path, or a new environment made by pip; else none. */
function pythonWithRival(folder: string): string | undefined {
  const given = process.env.HMS_BENCH_PYTHON ?? "python3";
  if (can(given, "grpc, google.protobuf")) return given;
  const made = join(folder, "venv");
  if (spawnSync(given, ["-m", "venv", made], { stdio: "ignore" }).status !== 0) return undefined;
  const python = join(made, "bin", "python");
  const installed = spawnSync(python, ["-m", "pip", "install", "-q", ...GRPCIO], { stdio: "ignore", timeout: 120_000 });
  return installed.status === 0 ? python : undefined;
}

/** The registry's contract with everything it imports. */
function contract(): Uint8Array {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile) => {
    for (const each of file.dependencies) add(each);
    files.set(file.name, file);
  };
  add(LOOKUP.parent.file);
  return toBinary(
    FileDescriptorSetSchema,
    create(FileDescriptorSetSchema, { file: [...files.values()].map(({ proto }) => proto) }),
  );
}

async function start(name: Name, python: string, folder: string): Promise<Contender> {
  const path = join(folder, `${name}.sock`);
  const server = fork(new URL("./call/server.ts", import.meta.url), [PAIRS[name], path]);
  await once(server, "message");
  const script = new URL("./call/python-client.py", import.meta.url).pathname;
  const args = [script, name, path, join(folder, "contract.binpb")];
  const client = spawn(python, args, { stdio: ["pipe", "pipe", "inherit"] });
  const answers = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
  if ((await answers.next()).value !== "ready") throw new Error(`The Python client of ${name} did not start.`);
  return { name, server, client, answers };
}

async function round({ client, answers }: Contender, seconds: number): Promise<Round> {
  client.stdin.write(`${JSON.stringify({ seconds, ticket: freshTicket() })}\n`);
  return JSON.parse((await answers.next()).value) as Round;
}

async function compete(contenders: Contender[], quick: boolean): Promise<Map<Name, Round[]>> {
  const rounds = new Map<Name, Round[]>(contenders.map(({ name }) => [name, []]));
  for (const each of contenders) await round(each, quick ? 0.5 : 2);
  for (let n = 0; n < (quick ? 5 : 9); n += 1) {
    for (const each of contenders) rounds.get(each.name)?.push(await round(each, quick ? 1 : 2));
  }
  return rounds;
}

const rounded = (value: number) => Number(value.toPrecision(4));

/**
 * The same small call from a blocking Python client, one after the other, over a unix socket to a TypeScript server: this
 * SDK with the whole pipeline at the server, grpcio to a bare grpc-js. Rounds alternate, and the median round counts.
 */
export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), "hms-bench-"));
  const contenders: Contender[] = [];
  try {
    await writeFile(join(folder, "contract.binpb"), contract());
    const rival = pythonWithRival(folder);
    const names: Name[] = rival === undefined ? ["hms_json"] : ["hms", "hms_json", "grpcio"];
    for (const name of names) contenders.push(await start(name, rival ?? "python3", folder));
    return report(await compete(contenders, quick), rival);
  } finally {
    for (const { server, client } of contenders) {
      client.stdin.end();
      server.disconnect();
    }
    await rm(folder, { recursive: true, force: true });
  }
}

function report(rounds: Map<Name, Round[]>, rival: string | undefined): BenchResult {
  const figures: Record<string, number> = {};
  const p50 = new Map<Name, number>();
  for (const [name, own] of rounds) {
    p50.set(name, median(own.map(({ p50Us }) => p50Us)));
    figures[`python_${name}_p50_us`] = rounded(p50.get(name) ?? 0);
    figures[`python_${name}_p99_us`] = rounded(median(own.map(({ p99Us }) => p99Us)));
    figures[`python_${name}_cpu_us_per_call`] = rounded(median(own.map(({ cpuUs }) => cpuUs)));
  }
  const ratios: Record<string, number> = {};
  const theirs = p50.get("grpcio");
  if (theirs !== undefined) {
    ratios.python_p50_vs_grpcio = rounded((p50.get("hms") ?? Number.NaN) / theirs);
    ratios.python_json_p50_vs_grpcio = rounded((p50.get("hms_json") ?? Number.NaN) / theirs);
  }
  const said = spawnSync(rival ?? "python3", ["--version"], { encoding: "utf8" }).stdout.trim();
  const versions = {
    node: process.version,
    python: said,
    grpcio: rival === undefined ? "not installed: left out" : GRPCIO.join(" "),
  };
  return { figures, ratios, versions };
}

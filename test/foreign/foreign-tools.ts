import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The versions that the results in docs/proof.md are of. */
const CONFORMANCE = "connectrpc.com/conformance/cmd/connectconformance@v1.0.7";
const GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4";
const DEX = { repository: "https://github.com/dexidp/dex", version: "v2.45.1" };
const WYCHEPROOF = "github.com/c2sp/wycheproof@v0.0.0-20260902155932-3fa63dd0344a";
const PEBBLE = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3";
const CHALLTESTSRV = "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@v2.10.3";
const PYTHON = [
  "grpcio==1.85.3",
  "protobuf==7.36.2",
  "googleapis-common-protos==1.76.0",
  "opentelemetry-sdk==1.45.2",
  "opentelemetry-exporter-otlp-proto-http==1.45.2",
  "protovalidate==2.1.0",
  "gunicorn==27.0.1",
  "mypy==2.4.1",
  "ruff==0.17.6",
];

/** Programs of others are kept here between runs. */
const KEPT = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "hms-sys-foreign");

/** Why a program of the machine is missing; undefined if it is there. */
export function missing(program: "go" | "python3"): string | undefined {
  try {
    execFileSync(program, [program === "go" ? "version" : "--version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return `${program} is not installed`;
  }
}

/** What a program prints; its errors carry what it said. */
export async function output(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const { stdout } = await run(program, [...args], { cwd, maxBuffer: 64 << 20 });
  return stdout;
}

/** Installs a Go program, unless it has been already. */
async function goProgram(module: string): Promise<string> {
  const [path = "", version = ""] = module.split("@");
  const bin = join(KEPT, `go-${version}`);
  const program = join(bin, path.slice(path.lastIndexOf("/") + 1));
  if (!existsSync(program)) await run("go", ["install", module], { env: { ...process.env, GOBIN: bin } });
  return program;
}

/** grpcurl. */
export const grpcurl = () => goProgram(GRPCURL);

/** Pebble, an authority for tests of ACME, and the name server that it believes. */
export const pebble = () => goProgram(PEBBLE);
export const challengeNames = () => goProgram(CHALLTESTSRV);

/** The runner of Connect's conformance suite, and the folder of its contracts. */
export async function conformance(): Promise<{ runner: string; contracts: string }> {
  const runner = await goProgram(CONFORMANCE);
  const [module = ""] = CONFORMANCE.replace("/cmd/connectconformance", "").split(" ");
  const found = JSON.parse(await output("go", ["mod", "download", "-json", module])) as { Dir: string };
  return { runner, contracts: join(found.Dir, "proto") };
}

/** The folder of Project Wycheproof's test vectors (Apache-2.0). */
export async function wycheproof(): Promise<string> {
  const found = JSON.parse(await output("go", ["mod", "download", "-json", WYCHEPROOF])) as { Dir: string };
  return join(found.Dir, "testvectors_v1");
}

/**
 * dex, a provider of OpenID Connect; HMS_DEX names the program where it is there already. Its module cannot be installed by
 * its version, so it is built from its source.
 */
export async function dex(): Promise<string> {
  if (process.env.HMS_DEX) return process.env.HMS_DEX;
  const source = join(KEPT, `dex-${DEX.version}`);
  const program = join(source, "bin", "dex");
  if (existsSync(program)) return program;
  if (!existsSync(source)) {
    await output("git", ["clone", "--quiet", "--depth", "1", "--branch", DEX.version, DEX.repository, source]);
  }
  await output("go", ["build", "-o", program, "./cmd/dex"], source);
  return program;
}

/** The stock grpc-go peer in ./go. */
export async function goPeer(): Promise<string> {
  const program = join(KEPT, "go-peer");
  mkdirSync(KEPT, { recursive: true });
  await output("go", ["build", "-o", program, "."], join(import.meta.dirname, "go"));
  return program;
}

/** A program that signs in with golang.org/x/oauth2, in ./go-oauth. */
export async function goOAuth(): Promise<string> {
  const program = join(KEPT, "go-oauth");
  mkdirSync(KEPT, { recursive: true });
  await output("go", ["build", "-o", program, "."], join(import.meta.dirname, "go-oauth"));
  return program;
}

/** The Python of an environment of its own that has what others wrote for it. */
export async function python(): Promise<string> {
  const named = createHash("sha256").update(PYTHON.join()).digest("hex").slice(0, 8);
  const home = join(KEPT, `python-${named}`);
  const program = join(home, "bin", "python3");
  const complete = join(home, "complete");
  if (!existsSync(complete)) {
    await output("python3", ["-m", "venv", "--clear", home]);
    await output(program, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...PYTHON]);
    writeFileSync(complete, PYTHON.join("\n"));
  }
  return program;
}

/** An environment in which `python3` is that one. */
export async function pythonFirst(): Promise<{ PATH: string }> {
  return { PATH: `${dirname(await python())}:${process.env.PATH}` };
}

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CONTRACT_CODE, writeContractCode } from "./contract-code.ts";

/** Ends with 1 if the contracts' code is not what proto/ yields, or if proto/ breaks what main promised last. */
process.chdir(new URL("..", import.meta.url).pathname);
const folder = mkdtempSync(join(tmpdir(), "hms-contracts-"));
try {
  const problems = [...staleFiles(), ...brokenPromises()];
  for (const problem of problems) process.stdout.write(`${problem}\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true });
}

function filesBelow(path: string): Map<string, string> {
  const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  return new Map(paths.map((file) => [file.slice(path.length + 1), readFileSync(file, "utf8")]));
}

function staleFiles(): string[] {
  writeContractCode(folder);
  const wanted = filesBelow(join(folder, CONTRACT_CODE));
  const found = filesBelow(CONTRACT_CODE);
  const names = new Set([...wanted.keys(), ...found.keys()]);
  const stale = [...names].filter((name) => wanted.get(name) !== found.get(name));
  return stale.map((name) => `${join(CONTRACT_CODE, name)} is not what proto/ yields: npm run generate`);
}

function brokenPromises(): string[] {
  const base = lastPromise();
  if (base === undefined) return [];
  const archive = join(folder, "before.tar");
  const before = join(folder, "before");
  mkdirSync(before);
  writeFileSync(archive, execFileSync("git", ["archive", base, "proto"], { maxBuffer: 1 << 28 }));
  execFileSync("tar", ["-xf", archive, "-C", before]);
  const { stdout, stderr } = spawnSync("buf", ["breaking", "proto", "--against", join(before, "proto")], {
    encoding: "utf8",
  });
  const lines = `${stdout}${stderr}`.split("\n").filter((line) => line !== "");
  return lines.map((line) => `${line} (compared with ${base.slice(0, 8)})`);
}

/** The commit of main that this work began from, on main itself the one before; undefined where there is none. */
function lastPromise(): string | undefined {
  const main = ["origin/main", "main"].map((name) => git("merge-base", "HEAD", name)).find((found) => found !== "");
  const head = git("rev-parse", "HEAD");
  return (main === head ? git("rev-parse", "--verify", "HEAD^") : main) || undefined;
}

function git(...args: string[]): string {
  const { status, stdout } = spawnSync("git", args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : "";
}

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { missing, python } from "./foreign-tools.ts";

const noPython = missing("python3");
const folder = join(import.meta.dirname, "../../sdks/python");

async function run(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = spawnSync(await python(), args, { cwd: folder, encoding: "utf8" });
  expect(status, stdout + stderr).toBe(0);
  return stdout + stderr;
}

describe.skipIf(noPython)(`the Python SDK${noPython ? `: skipped, ${noPython}` : ""}`, () => {
  test("passes its own tests with protobuf, protovalidate and OpenTelemetry installed", async () => {
    const said = await run("-W", "ignore", "-m", "unittest", "discover", "-v", "-t", ".", "-s", "tests");
    expect(said).toMatch(/^OK/m);
    // What is said to those who lack a library cannot be seen here; npm test sees it.
    for (const [, why] of said.matchAll(/ skipped (.+)/g)) expect(why).toMatch(/ is installed'$/);
  });

  test("has nothing that mypy --strict or ruff complain of", async () => {
    expect(await run("-m", "mypy", "--strict", "--cache-dir", "/dev/null")).toContain("Success: no issues found");
    await run("-m", "ruff", "check", "--no-cache");
    await run("-m", "ruff", "format", "--check", "--no-cache");
  });
});

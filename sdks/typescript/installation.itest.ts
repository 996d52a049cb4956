import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, runCommand, startPlatform } from "../../test/system/platform.ts";

const folder = import.meta.dirname;

/** The programs of the README, by the file name above each. */
function programs(): Map<string, string> {
  const text = readFileSync(join(folder, "README.md"), "utf8");
  const found = text.matchAll(/`(\w+\.ts)`:\n\n```ts\n([\s\S]*?)```/g);
  return new Map([...found].map(([, name = "", program = ""]) => [name, program]));
}

let platform: Platform;
let work: string;
let service: ChildProcess;
let said = "";

beforeAll(async () => {
  platform = await startPlatform();
  work = mkdtempSync(join(tmpdir(), "hms-ts-"));
  // What `npm install` of a folder makes.
  mkdirSync(join(work, "node_modules", "@hms"), { recursive: true });
  symlinkSync(folder, join(work, "node_modules", "@hms", "ffi"));
  writeFileSync(join(work, "package.json"), '{"type": "module"}');
  for (const [name, program] of programs()) writeFileSync(join(work, name), program);
  service = spawn(process.execPath, ["patients.ts"], { cwd: work, env: platform.env });
  for (const stream of [service.stdout, service.stderr]) stream?.on("data", (text) => (said += text));
  await waitFor(() => said.includes("serving"), { deadlineMs: 20_000, describe: () => `the service serves: ${said}` });
}, 120_000);

afterAll(async () => {
  service?.kill("SIGKILL");
  await platform?.[Symbol.asyncDispose]();
  if (work) rmSync(work, { recursive: true, force: true });
}, 60_000);

describe("the TypeScript SDK's five minutes, as pasted, against a running installation", () => {
  test("a service is offered, found and called", async () => {
    const { code, stdout, stderr } = await runCommand([process.execPath, "visit.ts"], platform.env, { cwd: work });
    expect(code, stderr).toBe(0);
    expect(stdout).toBe("{ name: 'Ada' }\n3\n2\n1\nNo patient p-9.\n");
  });

  test("the command line calls it", async () => {
    const { code, stdout } = await platform.cli("ffi", "call", "demo.emr.patient", "GetPatient", "patient_id=p-1");
    expect([code, JSON.parse(stdout)]).toEqual([0, { name: "Ada" }]);
  });

  test("it ends with Ctrl-C and is found no more", async () => {
    const ended = new Promise((resolve) => service.once("exit", (code) => resolve(code)));
    service.kill("SIGINT");
    expect(await ended, said).toBe(0);
    expect((await platform.cli("ffi", "list", "demo.*")).stdout).toBe("");
  });
});

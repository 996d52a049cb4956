import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, startPlatform } from "../../test/system/platform.ts";

const folder = import.meta.dirname;
const python = process.env.PYTHON ?? "python3";
const installed =
  spawnSync(python, ["-c", "import sys; sys.exit(sys.version_info < (3, 9))"], { stdio: "ignore" }).status === 0;

/** The programs of the README, by the file name above each. */
function programs(): Map<string, string> {
  const text = readFileSync(join(folder, "README.md"), "utf8");
  const found = text.matchAll(/`(\w+\.py)`:\n\n```python\n([\s\S]*?)```/g);
  return new Map([...found].map(([, name = "", program = ""]) => [name, program]));
}

/** Calls until its input ends. */
const OFTEN = `
import sys, threading, time
from hms_ffi.client import Client

ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
client = Client("demo.ach.transaction")
calls = failed = 0
while not ended.is_set():
    try:
        list(client.stream("ListAccounts"))
        calls += 1
    except Exception as error:
        failed += 1
        print(error, file=sys.stderr)
    if calls + failed == 1:
        print("begun", flush=True)
    time.sleep(0.01)
print(f"{calls} calls, {failed} failed")
`;

let platform: Platform;
let work: string;
let service: ChildProcess | undefined;

const env = () => ({ ...platform.env, PYTHONPATH: folder });

function run(file: string, more: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(python, [join(work, file)], {
    env: { ...env(), ...more },
    encoding: "utf8",
    timeout: 30_000,
  });
  return { status, stdout, stderr };
}

beforeAll(async () => {
  if (!installed) return;
  platform = await startPlatform();
  work = mkdtempSync(join(tmpdir(), "hms-py-"));
  for (const [name, program] of programs()) writeFileSync(join(work, name), program);
}, 120_000);

afterAll(async () => {
  service?.kill("SIGKILL");
  await platform?.[Symbol.asyncDispose]();
  if (work) rmSync(work, { recursive: true, force: true });
}, 60_000);

/** Starts the README's service and waits until it is registered. */
async function serve(): Promise<ChildProcess> {
  const watcher = 'import logging; logging.basicConfig(level="INFO"); ';
  const started = spawn(
    python,
    ["-c", `${watcher}exec(open(${JSON.stringify(join(work, "transactions.py"))}).read())`],
    {
      env: env(),
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  await new Promise<void>((resolve, reject) => {
    let said = "";
    started.stderr?.on("data", (text) => {
      said += text;
      if (said.includes("serving ")) resolve();
    });
    started.once("exit", () => reject(new Error(said)));
  });
  return started;
}

describe.skipIf(!installed)("the Python SDK's five minutes, as pasted, against a running installation", () => {
  test("a service is offered, found and called", { timeout: 60_000 }, async () => {
    service = await serve();
    const { status, stdout, stderr } = run("transfer.py");
    expect(status, stderr).toBe(0);
    expect(stdout.split("\n")).toEqual([
      "{'transaction_id': 't-1', 'status': 'settled'}",
      expect.stringContaining("acc-1"),
      expect.stringContaining("acc-2"),
      "account acc-9",
      "",
    ]);
  });

  test("the command line calls it, though it has no contract of its own", { timeout: 60_000 }, async () => {
    const { code, stdout, stderr } = await platform.cli("ffi", "call", "demo.ach.transaction", "ListAccounts");
    expect(code, stderr).toBe(0);
    expect(stdout.trim().split("\n")).toEqual([expect.stringContaining("acc-1"), expect.stringContaining("acc-2")]);
  });

  test("whom no policy allows is told so, until one does", { timeout: 60_000 }, async () => {
    const token = "a".repeat(64);
    const key = {
      id: "anna",
      kind: "user",
      roles: ["teller"],
      token_sha256: createHash("sha256").update(token).digest("hex"),
    };
    const config = join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance);
    writeFileSync(join(config, "ffi-keys.json"), JSON.stringify([key]), { mode: 0o600 });
    const asAnna = () => run("transfer.py", { HMS_FFI_TOKEN: token });
    await waitFor(() => asAnna().stderr.includes("PermissionDeniedError: anna may not call demo.ach.transaction"), {
      deadlineMs: 20_000,
      describe: () => `the denial; now: ${asAnna().stderr}`,
    });
    const policy = JSON.stringify({ service: "demo.*", allowed_roles: ["teller"] });
    expect(await platform.cli("ffi", "policy", "--put", policy)).toMatchObject({ code: 0 });
    expect(asAnna().stdout).toContain("settled");
    const { stdout } = await platform.cli("ffi", "policy", "demo.ach.transaction");
    expect(stdout).toMatch(/demo\.\* +\* +teller/);
  });

  test("calls go on while the platform's server is killed and comes back", { timeout: 60_000 }, async () => {
    writeFileSync(join(work, "often.py"), OFTEN);
    const often = spawn(python, [join(work, "often.py")], { env: env(), stdio: ["pipe", "pipe", "pipe"] });
    const said = [often.stdout, often.stderr].map((stream) => text(stream));
    await new Promise((resolve) => often.stdout.once("readable", resolve));
    const before = await platform.pidOf("server");
    process.kill(before, "SIGKILL");
    await waitFor(async () => (await platform.pidOf("server")) !== before, {
      describe: "another server",
    });
    often.stdin.end();
    const [stdout, stderr] = await Promise.all(said);
    expect(stdout?.trim().split("\n").at(-1), stderr).toMatch(/^\d{2,} calls, 0 failed$/);
  });

  test("it stops on SIGTERM and is looked up no more", { timeout: 60_000 }, async () => {
    const ended = new Promise((resolve) => service?.once("exit", (code) => resolve(code)));
    service?.kill("SIGTERM");
    expect(await ended).toBe(0);
    const { status, stderr } = run("transfer.py");
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/ResourceNotFoundError|UnavailableError/);
  });
});

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { automationRuns } from "@hms/contracts";
import { waitFor } from "@hms/testkit";
import { serveSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AutomationScene, openAutomationScene } from "../../services/automation/src/testing/automation-scene.ts";

const { NodeState, RunDecision, RunState } = automationRuns;
const python = process.env.PYTHON ?? "python3";
const check = "import sys; sys.exit(sys.version_info < (3, 9))";
const installed = spawnSync(python, ["-c", check], { timeout: 20_000 }).status === 0;

/** Notes what it does, and ends a step once the gate is open. */
const PROGRAM = `
import os, signal, sys, time
from hms_ffi.worker import StepWorker

folder = os.environ["TEST_FOLDER"]

def note(step, word):
    with open(os.path.join(folder, "notes"), "a") as notes:
        notes.write(f"{word} {step.node} {step.attempt} {step.fence}\\n")

def work(step):
    note(step, "begin")
    step.log(f"attempt {step.attempt} of {step.input}")
    while not os.path.exists(os.path.join(folder, "gate")):
        if step.stopped:
            raise RuntimeError("told to stop")
        time.sleep(0.02)
    note(step, "end")
    return {"did": step.node, "key": step.idempotency_key}

worker = StepWorker("python", {"test/work": work}, concurrency=4, lease=2.0)
signal.signal(signal.SIGTERM, lambda *_: worker.stop())
worker.run()
`;

let scene: AutomationScene;
let folder: string;
const stack = new AsyncDisposableStack();
const children = new Set<ChildProcess>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "hms-worker-"));
  stack.defer(() => rmSync(folder, { recursive: true }));
  scene = stack.use(await openAutomationScene());
  stack.use(await serveSocket(scene.kernel, { path: join(folder, "kernel.sock") }));
  stack.defer(() => {
    for (const child of children) child.kill("SIGKILL");
  });
  writeFileSync(join(folder, "program.py"), PROGRAM);
});
afterAll(() => stack.disposeAsync());

function startWorker(): ChildProcess {
  const env = {
    ...process.env,
    PYTHONPATH: import.meta.dirname,
    TEST_FOLDER: folder,
    HMS_FFI_SOCKET: join(folder, "kernel.sock"),
    HMS_FFI_TOKEN: "etl",
  };
  const child = spawn(python, ["-W", "ignore", join(folder, "program.py")], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr?.on("data", (data) => {
    said += data;
  });
  child.once("exit", (code, signal) => {
    children.delete(child);
    if (signal !== "SIGKILL" && code !== 0) throw new Error(`The worker ended with ${code}: ${said}`);
  });
  children.add(child);
  return child;
}

const notes = () =>
  existsSync(join(folder, "notes")) ? readFileSync(join(folder, "notes"), "utf8").trimEnd().split("\n") : [];
const noted = (word: string, node: string) => notes().filter((line) => line.startsWith(`${word} ${node} `));
const nodesOf = async (runId: string) => (await scene.runs().getRun({ runId })).run?.nodes ?? [];
const stateOf = async (runId: string, name: string) => (await nodesOf(runId)).find(({ node }) => node === name)?.state;

describe.skipIf(!installed)("a Python program that works on a queue", () => {
  test("is killed in the middle, another takes over, and the run succeeds as the effects say", async () => {
    const step = (effect: string) => ({
      uses: "test/work",
      queue: "python",
      effect,
      with: { salt: randomBytes(2).toString("hex") },
    });
    const graph = {
      nodes: {
        again: step("idempotent"),
        onwards: step("resumable"),
        once: step("at_most_once"),
        last: { ...step("idempotent"), needs: ["again", "onwards", "once"] },
      },
    };
    const first = startWorker();
    const { run } = await scene.runs().startRun({ graph });
    const runId = run?.runId ?? "";
    await waitFor(() => notes().length === 3, { describe: "three steps begun" });
    first.kill("SIGKILL");
    const second = startWorker();
    await waitFor(() => noted("begin", "again").length + noted("begin", "onwards").length === 4, {
      describe: "the other program to take over",
    });
    await waitFor(async () => (await stateOf(runId, "once")) === NodeState.NEEDS_DECISION, {
      describe: "somebody to be asked about what must not be done twice",
    });
    expect(noted("begin", "once")).toHaveLength(1);
    writeFileSync(join(folder, "gate"), "");
    await waitFor(async () => (await stateOf(runId, "again")) === NodeState.SUCCEEDED, { describe: "what goes on" });
    expect(noted("begin", "once")).toHaveLength(1);
    await scene.runs().decideRun({ runId, node: "once", decision: RunDecision.RETRY });
    expect(await scene.durable.ended(runId, 30_000)).toBe("succeeded");
    const counts = ["again", "onwards", "once", "last"].map((node) => [
      noted("begin", node).length,
      noted("end", node).length,
    ]);
    expect(counts).toEqual([
      [2, 1],
      [2, 1],
      [2, 1],
      [1, 1],
    ]);
    const fences = noted("begin", "again").map((line) => Number(line.split(" ")[3]));
    expect(fences[1]).toBeGreaterThan(fences[0] as number);
    const said = [];
    for await (const piece of scene.runs().readRunLogs({ runId, node: "again" })) said.push(piece.text);
    expect(said.join("")).toMatch(/^(attempt 1 of .*\n)?attempt 2 of \{'salt': '....'\}\n$/);
    second.kill("SIGTERM");
    await waitFor(() => !children.has(second), { describe: "the program to end when it is told to" });
    expect((await scene.runs().getRun({ runId })).run?.state).toBe(RunState.SUCCEEDED);
  }, 60_000);
});

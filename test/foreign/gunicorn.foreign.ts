import { spawn } from "node:child_process";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { serve } from "@hms/ffi";
import { tempFolder, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missing, python } from "./foreign-tools.ts";

const noPython = missing("python3");
const WORKERS = 3;

describe.skipIf(noPython)(`the Python SDK below gunicorn --preload${noPython ? `: skipped, ${noPython}` : ""}`, () => {
  const stack = new AsyncDisposableStack();
  let socketPath = "";

  const ask = (path: string) =>
    new Promise<{ pid: number; text: string }>((answered, failed) => {
      const asking = request({ socketPath, path, agent: false }, async (answer) => {
        const said = await text(answer);
        if (answer.statusCode === 200) answered(JSON.parse(said));
        else failed(new Error(`${answer.statusCode} ${said}`));
      });
      asking.on("error", failed);
      asking.end();
    });

  beforeAll(async () => {
    const folder = stack.use(tempFolder()).path;
    socketPath = join(folder, "gunicorn.sock");
    const echo = { Echo: (message: object) => message };
    const listen = `unix:${folder}/echo.sock`;
    const { address } = stack.use(await serve({ serviceId: "demo.echo", methods: echo, register: false, listen }));
    const env = { ...process.env, PYTHONPATH: join(import.meta.dirname, "../../sdks/python"), ECHO_ADDRESS: address };
    const args = ["--preload", "--workers", String(WORKERS), "--threads", "4", "--bind", `unix:${socketPath}`];
    const child = spawn(await python(), ["-m", "gunicorn", ...args, "forked_app:app"], {
      cwd: import.meta.dirname,
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const complaints = text(child.stderr);
    stack.defer(async () => {
      child.kill("SIGTERM");
      await complaints;
    });
    await waitFor(() => ask("/").then(Boolean, () => false), { describe: "gunicorn to answer", deadlineMs: 60_000 });
  });
  afterAll(() => stack.disposeAsync());

  test("is used by every worker and thread, with a client that was used before they were forked", async () => {
    const asked = Array.from({ length: 300 }, (_, at) => `/${at}`);
    const pids = new Set<number>();
    for (let start = 0; start < asked.length; start += 20) {
      const some = asked.slice(start, start + 20);
      const answers = await Promise.all(some.map(ask));
      expect(answers.map((answer) => answer.text)).toEqual(some);
      for (const { pid } of answers) pids.add(pid);
    }
    expect(pids.size).toBe(WORKERS);
  });

  test("goes on in the worker that takes a killed one's place", async () => {
    const { pid } = await ask("/first");
    process.kill(pid, "SIGKILL");
    const others = new Set<number>();
    const replaced = async () => {
      const answer = await ask("/again").catch(() => undefined);
      if (answer) others.add(answer.pid);
      return others.size >= WORKERS && answer?.text === "/again";
    };
    await waitFor(replaced, { describe: "as many workers as before", deadlineMs: 30_000, intervalMs: 5 });
    expect(await ask("/last")).toMatchObject({ text: "/last" });
  });
});

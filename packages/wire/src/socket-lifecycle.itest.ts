import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { lstat, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { HmsError } from "@hms/kernel";
import { afterEach, describe, expect, test } from "vitest";
import { type RegistryHandlers, Stage, until } from "./registry-on-socket.ts";

const stage = new Stage();
afterEach(() => stage.release());

async function serverProcess(path: string): Promise<ChildProcess> {
  const script = new URL("./fixtures/registry-server.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, path], { stdio: ["ignore", "pipe", "inherit"] });
  stage.defer(() => child.kill("SIGKILL"));
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

const failure = async (call: Promise<unknown>) => (await call.catch((error) => error)) as HmsError;

const drain = async (events: AsyncIterable<unknown>) => {
  let count = 0;
  for await (const _ of events) count += 1;
  return count;
};

/** Handlers that wait until a test lets them go. */
function gated() {
  const gates: (() => void)[] = [];
  const own: Partial<RegistryHandlers> = {
    lookup: ({ serviceId }) => new Promise((resolve) => gates.push(() => resolve({ service: { serviceId } }))),
    register: () => new Promise((resolve) => gates.push(() => resolve({}))),
  };
  return { gates, own };
}

describe("a server that is killed", () => {
  test("fails the calls it was answering with UNAVAILABLE, and is found again when it is back", async () => {
    const path = await stage.socketPath();
    const first = await serverProcess(path);
    const { client } = stage.connect({ path });
    const hanging = failure(client.lookup({ serviceId: "hang" }));
    const watching = client.watch({})[Symbol.asyncIterator]();
    await watching.next();
    await kill(first);
    expect(await hanging).toMatchObject({ code: "UNAVAILABLE", details: { reason: "CONNECTION_LOST" } });
    const rest = async () => {
      while (!(await watching.next()).done);
    };
    expect(await failure(rest())).toMatchObject({ code: "UNAVAILABLE", details: { reason: "CONNECTION_LOST" } });
    expect(await failure(client.lookup({}))).toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("nobody listens"),
      details: { reason: "NOT_CONNECTED" },
    });
    // Its socket file is still there; the next server takes the place of it.
    expect((await lstat(path)).isSocket()).toBe(true);
    await serverProcess(path);
    const answer = await client.lookup({ serviceId: "back" });
    expect(answer.service?.serviceId).toBe("back");
  });

  test("is waited for by a transport with patience, and calls that may be repeated are", async () => {
    const path = await stage.socketPath();
    const first = await serverProcess(path);
    const { client } = stage.connect({ path, waitForReadyMs: 20_000 });
    await client.lookup({});
    const reading = client.lookup({ serviceId: "hang" }, { timeoutMs: 1_500 });
    const outcome = failure(reading);
    await kill(first);
    const during = client.lookup({ serviceId: "during" });
    await serverProcess(path);
    expect((await during).service?.serviceId).toBe("during");
    // Sent again to the new server, which hangs as well, until its own deadline.
    expect((await outcome).code).toBe("DEADLINE_EXCEEDED");
  });

  test("is given up when the call's own deadline or cancellation comes first", async () => {
    const { client } = stage.connect({ path: await stage.socketPath(), waitForReadyMs: 60_000 });
    const away = await failure(client.lookup({}, { timeoutMs: 30 }));
    expect(["UNAVAILABLE", "DEADLINE_EXCEEDED"]).toContain(away.code);
    const leave = new AbortController();
    const waiting = failure(client.lookup({}, { signal: leave.signal }));
    leave.abort();
    expect((await waiting).code).toBe("CANCELLED");
    expect((await failure(drain(client.watch({}, { timeoutMs: 30 })))).code).toMatch(/UNAVAILABLE|DEADLINE_EXCEEDED/);
  });

  test("that never was is explained", async () => {
    const path = await stage.socketPath();
    const { client, transport } = stage.connect({ path });
    expect(await failure(client.lookup({}))).toMatchObject({
      code: "UNAVAILABLE",
      message: `No answer at ${path}: there is no such socket. Start the platform (hms-sys up), or name the right one (--instance).`,
    });
    expect((await failure(transport.ready(30))).code).toBe("UNAVAILABLE");
    await mkdir(dirname(path));
    const ready = transport.ready(5_000);
    await stage.serve({}, { path });
    await ready;
  });
});

describe("a server that stops", () => {
  test("finishes what runs, takes nothing new, and leaves nothing behind", async () => {
    const { gates, own } = gated();
    const server = await stage.serve(own, { graceMs: 30_000 });
    const { client } = stage.connect({ path: server.path });
    const running = client.lookup({ serviceId: "running" });
    await until(() => gates.length === 1);
    const closed = server.close();
    expect(server.close()).toBe(closed);
    expect((await failure(client.lookup({ serviceId: "late" }))).code).toBe("UNAVAILABLE");
    gates[0]?.();
    expect((await running).service?.serviceId).toBe("running");
    await closed;
    expect(server.connections).toBe(0);
  });

  test("ends reading streams at once, and lets those that change something finish", async () => {
    const server = await stage.serve(
      {
        watch: async function* (_, { signal }) {
          yield {};
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          throw new HmsError("INTERNAL", "Nobody sees this.");
        },
      },
      { graceMs: 30_000 },
    );
    const { client } = stage.connect({ path: server.path });
    const watching = client.watch({})[Symbol.asyncIterator]();
    await watching.next();
    const closed = server.close();
    expect(await failure(watching.next())).toMatchObject({
      code: "UNAVAILABLE",
      details: { reason: "SERVER_STOPPING" },
    });
    await closed;
  });

  test("interrupts what does not finish in time, and tells both sides", async () => {
    let stopped: unknown;
    const server = await stage.serve({
      lookup: (_, { signal }) =>
        new Promise(() => {
          signal.addEventListener("abort", () => {
            stopped = signal.reason;
          });
          running = true;
        }),
    });
    let running = false;
    const { client } = stage.connect({ path: server.path });
    const call = failure(client.lookup({}));
    await until(() => running);
    await server.close({ graceMs: 10 });
    const interrupted = { code: "UNAVAILABLE", details: { reason: "INTERRUPTED" } };
    expect(await call).toMatchObject(interrupted);
    expect(stopped).toMatchObject(interrupted);
  });

  test("and comes back is met again by the same transport, without a failed call in between if it is patient", async () => {
    const path = await stage.socketPath();
    let server = await stage.serve({ lookup: () => ({}) }, { path });
    const { client } = stage.connect({ path, waitForReadyMs: 10_000 });
    let done = false;
    let calls = 0;
    const loops = Array.from({ length: 8 }, async () => {
      while (!done) {
        await client.lookup({});
        calls += 1;
      }
    });
    for (let restart = 0; restart < 5; restart += 1) {
      const before = calls;
      await until(() => calls > before + 20);
      await server.close();
      server = await stage.serve({ lookup: () => ({}) }, { path });
    }
    const before = calls;
    await until(() => calls > before + 20);
    done = true;
    await Promise.all(loops);
  });
});

describe("a process that only called", () => {
  test("ends by itself although its transport is still open", async () => {
    const server = await stage.serve({ lookup: () => ({}) });
    const script = `
      import { connectSocket } from ${JSON.stringify(new URL("./index.ts", import.meta.url).href)};
      import { createClient } from "@hms/kernel";
      import { registry } from "@hms/contracts";
      const transport = connectSocket({ path: ${JSON.stringify(server.path)}, token: "secret" });
      await createClient(registry.RegistryService, transport).lookup({}, { timeoutMs: 60000 });
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      cwd: import.meta.dirname,
      stdio: "inherit",
    });
    stage.defer(() => child.kill("SIGKILL"));
    const [code] = await once(child, "exit");
    expect(code).toBe(0);
  });
});

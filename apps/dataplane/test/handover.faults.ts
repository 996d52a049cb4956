import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { writeNetwork } from "@hms/config";
import { ListenerKeeper } from "@hms/handover";
import { waitFor } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DataPlaneProcess, healthOf, inFlightAt, startDataPlane } from "./support/data-plane-process.ts";
import { type Installation, openInstallation } from "./support/installation.ts";
import { lost, type OpenLoop, startOpenLoop } from "./support/open-loop.ts";
import { snapshotOf } from "./support/snapshots.ts";
import { startUpstream, type Upstream } from "./support/upstream.ts";

let installation: Installation;
let upstream: Upstream;
let url = "";
const cleanUp: (() => unknown)[] = [];

beforeEach(async () => {
  installation = await openInstallation();
  upstream = await startUpstream("receipt");
  const vip = installation.vip(1);
  installation.store.save(snapshotOf(1, [{ name: "receipt-svc", vip, upstreams: [upstream.port], path: "/receipt" }]));
  url = `http://127.0.0.1:${installation.network.gatewayPort}/receipt`;
});
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
  await upstream[Symbol.asyncDispose]();
  await installation[Symbol.asyncDispose]();
});

function newKeeper(): ListenerKeeper {
  const keeper = new ListenerKeeper();
  cleanUp.push(() => keeper.close());
  return keeper;
}
async function start(keeper: ListenerKeeper): Promise<DataPlaneProcess> {
  const plane = await startDataPlane(installation, { keeper });
  cleanUp.push(() => plane[Symbol.asyncDispose]());
  return plane;
}
async function load(keepAlive: boolean, perSecond = 200): Promise<OpenLoop> {
  const running = startOpenLoop(`${url}?ms=3`, perSecond, keepAlive);
  cleanUp.push(() => running.stop());
  await waitFor(() => running.answered > 50, { describe: "the load to run" });
  return running;
}
async function more(running: OpenLoop, count: number): Promise<void> {
  const goal = running.answered + count;
  await waitFor(() => running.answered > goal, { describe: () => `answers: ${running.answered} of ${goal}` });
}

describe("with a parent that keeps its sockets", () => {
  test("a killed data plane fails only what is under way on it; nobody is refused, and the next one answers", async () => {
    const keeper = newKeeper();
    const first = await start(keeper);
    const running = await load(false);
    first.child.kill("SIGKILL");
    await first.ended;
    // Until then it may have taken requests with it.
    const killedAt = performance.now();
    await start(keeper);
    await more(running, 100);
    const shots = await running.stop();
    const failed = lost(shots);
    expect(failed.filter(({ sentAt }) => sentAt > killedAt)).toEqual([]);
    expect(failed.map(({ outcome }) => outcome)).not.toContain("ECONNREFUSED");
    expect(failed.length).toBeLessThan(20);
    const back = shots.filter(({ sentAt, ok }) => ok && sentAt > killedAt).map(({ endedAt }) => endedAt - killedAt);
    expect(Math.min(...back)).toBeLessThan(5000);
  });

  test.each([
    { kind: "connections of their own", keepAlive: false },
    { kind: "connections that are kept", keepAlive: true },
  ])("replacing a data plane three times loses no request on $kind", async ({ keepAlive }) => {
    const keeper = newKeeper();
    let plane = await start(keeper);
    const running = await load(keepAlive);
    for (let turn = 0; turn < 3; turn += 1) {
      const successor = await start(keeper);
      plane.child.kill("SIGTERM");
      expect(await plane.ended).toBe(0);
      plane = successor;
    }
    await more(running, 50);
    expect(lost(await running.stop())).toEqual([]);
  });

  test("what runs is finished by the data plane that began it", async () => {
    const keeper = newKeeper();
    const first = await start(keeper);
    const answer = fetch(`${url}?ms=1500`).then((response) => response.text());
    const socket = connect(installation.network.gatewayPort, "127.0.0.1");
    socket.write("GET /receipt HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    expect(String(await once(socket, "data"))).toContain("101");
    await waitFor(async () => (await inFlightAt(installation.network.metricsPort)) === 2, { describe: "both to run" });
    await start(keeper);
    first.child.kill("SIGTERM");
    await waitFor(() => first.said.includes("retiring"), { describe: "it to retire" });
    socket.write("still there?");
    expect(String((await once(socket, "data"))[0])).toBe("still there?");
    expect(await answer).toBe("receipt");
    socket.destroy();
    expect(await first.ended).toBe(0);
  });

  test("an address that the successor does not serve any more is refused, not left waiting", async () => {
    const keeper = newKeeper();
    const first = await start(keeper);
    const { metricsPort } = installation.network;
    writeNetwork(installation.paths, { ...installation.network, metricsPort: metricsPort + 1 });
    await start(keeper);
    first.child.kill("SIGTERM");
    await first.ended;
    const refusal = await once(connect(metricsPort, "127.0.0.1"), "error").then(([error]) => error);
    expect(refusal).toMatchObject({ code: "ECONNREFUSED" });
  });
});

describe("when its parent is killed", () => {
  interface Parent {
    child: ChildProcess;
    startDataPlane(): Promise<number>;
  }
  function startParent(): Parent {
    const program = new URL("./support/agent-program.ts", import.meta.url).pathname;
    const child = spawn(process.execPath, [program], {
      env: installation.env,
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    cleanUp.push(() => void child.kill("SIGKILL"));
    return {
      child,
      async startDataPlane() {
        child.send("start");
        const [{ pid }] = await once(child, "message");
        cleanUp.push(() => {
          if (isRunning(pid)) process.kill(pid, "SIGKILL");
        });
        return pid;
      },
    };
  }
  const isRunning = (pid: number) => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };

  test.each([
    { kind: "connections of their own", keepAlive: false },
    { kind: "connections that are kept", keepAlive: true },
  ])(
    "service goes on, and the next parent's data plane takes over losing no request on $kind",
    async ({ keepAlive }) => {
      const first = startParent();
      const orphan = await first.startDataPlane();
      const running = await load(keepAlive, 300);
      first.child.kill("SIGKILL");
      await once(first.child, "exit");
      await more(running, 50);
      expect((await healthOf(installation.network.metricsPort)).pid).toBe(orphan);
      const successor = await startParent().startDataPlane();
      process.kill(orphan, "SIGTERM");
      await waitFor(() => !isRunning(orphan), { deadlineMs: 30_000, describe: "the orphan to end" });
      await more(running, 50);
      expect(lost(await running.stop())).toEqual([]);
      expect((await healthOf(installation.network.metricsPort)).pid).toBe(successor);
    },
  );
});

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InstanceNetwork } from "@hms/config";
import { collectProcesses, freePort } from "@hms/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { leavePlace, linkStateHome } from "./places.ts";
import { hmsSys, type Platform, runCommand, startPlatform } from "./platform.ts";

const homes: string[] = [];
afterEach(() => {
  for (const home of homes.splice(0)) rmSync(home, { recursive: true, force: true });
});

/** The environment of an installation that has never been started. */
function freshEnvironment(instance: string): { env: NodeJS.ProcessEnv; home: string } {
  const home = mkdtempSync(join(tmpdir(), "hms-"));
  homes.push(home);
  const env = { ...process.env, XDG_CONFIG_HOME: join(home, "c"), HMS_INSTANCE: instance, HMS_DATA: join(home, "d") };
  return { env, home };
}

async function holdPort(port: number, host: string): Promise<Server> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(port, host, done));
  return server;
}

describe("a gateway port that somebody has", () => {
  test.each(["127.0.0.1", "0.0.0.0", "::"])(
    "on %s makes `up` fail at once, naming both, with nothing left running",
    async (host) => {
      const port = await freePort();
      const holder = await holdPort(port, host);
      const { env, home } = freshEnvironment("busy");
      const processes = collectProcesses(home);
      const began = performance.now();
      try {
        const { code, stdout, stderr } = await runCommand([hmsSys, "up", "--port", String(port)], env);
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
        expect(stderr).toContain(`Port ${port} is taken`);
        expect(stderr).toContain(`pid ${process.pid}`);
        expect(stderr).not.toContain("starting it again");
        expect(performance.now() - began).toBeLessThan(10_000);
        await processes.assertNoneLeft();
      } finally {
        holder.close();
      }
    },
    60_000,
  );
});

test("Ctrl-C while `up` deploys ends everything that it has started", async () => {
  const { env, home } = freshEnvironment("early");
  const processes = collectProcesses(home);
  mkdirSync(join(home, "src"));
  const file = join(home, "src", "slow.hms.yml");
  writeFileSync(file, 'name: slow-svc\nversion: "1"\nrun:\n  command: exec sleep 1000\n');
  const child = spawn(hmsSys, ["up", "--deploy", file], { env, stdio: ["ignore", "ignore", "pipe"] });
  child.stderr.on("data", (text) => {
    if (String(text).includes("deploy slow-svc")) child.kill("SIGINT");
  });
  await new Promise((done) => child.once("close", done));
  await processes.assertNoneLeft();
}, 60_000);

test("of two `up` that race for one installation one starts it, and the other exits 6", async () => {
  const { env, home } = freshEnvironment("race");
  const processes = collectProcesses(home);
  const results = await Promise.all([1, 2].map(() => runCommand([hmsSys, "up", "--detach"], env)));
  await runCommand([hmsSys, "down"], env);
  expect(results.map(({ code }) => code).sort(), results.map(({ stderr }) => stderr).join("\n")).toEqual([0, 6]);
  await processes.assertNoneLeft();
}, 90_000);

describe("two installations that take turns", () => {
  test("have each a place of its own, so that they can run side by side, too", async () => {
    const { home } = freshEnvironment("unused");
    const env = { ...process.env, XDG_CONFIG_HOME: join(home, "c"), XDG_STATE_HOME: linkStateHome(join(home, "s")) };
    const [one, two] = ["one", "two"].map((name) => `t${process.pid}-${name}`) as [string, string];
    const processes = collectProcesses(home);
    const hms = (...args: string[]) => runCommand([hmsSys, ...args], env);
    const network = (instance: string) =>
      JSON.parse(readFileSync(join(home, "s", "hms-sys", instance, "network.json"), "utf8")) as InstanceNetwork;
    expect(await hms("up", "--detach", "--instance", one)).toMatchObject({ code: 0 });
    expect(await hms("down", "--instance", one)).toMatchObject({ code: 0 });
    expect(await hms("up", "--detach", "--instance", two)).toMatchObject({ code: 0 });
    expect(Object.values(network(two)).filter((each) => Object.values(network(one)).includes(each))).toEqual([]);
    expect(await hms("up", "--detach", "--instance", one)).toMatchObject({ code: 0 });
    await hms("down", "--instance", one);

    // A copy of a whole installation has the same place: it is refused while the other one runs.
    const file = join(home, "s", "hms-sys", one, "network.json");
    writeFileSync(file, JSON.stringify({ ...network(two), gatewayPort: await freePort() }));
    expect(await hms("up", "--instance", one)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/127\.\d+\.\*\) are in use by instance "[a-z0-9]+-two" \(pid \d+\)/),
    });
    expect(await hms("down", "--instance", two)).toMatchObject({ code: 0 });
    await processes.assertNoneLeft();
    for (const each of [one, two]) leavePlace(each);
  }, 120_000);
});

describe("two installations on one machine", () => {
  let one: Platform;
  let two: Platform;
  beforeAll(async () => {
    // Both at the same moment: each must find a place of its own.
    [one, two] = await Promise.all([startPlatform(), startPlatform()]);
    await Promise.all([
      one.cli("deploy", echoService(one, { version: "one", replicas: 1 })),
      two.cli("deploy", echoService(two, { version: "two", replicas: 1 })),
    ]);
  }, 180_000);
  afterAll(async () => {
    await Promise.all([one?.[Symbol.asyncDispose](), two?.[Symbol.asyncDispose]()]);
  }, 60_000);

  const version = async (platform: Platform) =>
    ((await (await fetch(platform.url("/echo-svc"))).json()) as { version: string }).version;
  const byName = async (platform: Platform) =>
    JSON.parse((await platform.cli("run", "echo-svc", "--", "curl", "-s", "http://echo-svc.mesh/")).stdout).version;

  test("that were started at the same moment share no port and no address", () => {
    const own = ({ network }: Platform) => Object.values(network);
    expect(own(one).filter((address) => own(two).includes(address))).toEqual([]);
  });

  test("have each its own service of one name, at the gateway and in the mesh", async () => {
    expect([await version(one), await version(two)]).toEqual(["one", "two"]);
    expect([await byName(one), await byName(two)]).toEqual(["one", "two"]);
  });

  test("cannot be started twice: the second `up` says so and exits 6", async () => {
    const { code, stderr } = await one.cli("up");
    expect({ code, stderr }).toMatchObject({ code: 6, stderr: expect.stringContaining("running already") });
    expect(await version(one)).toBe("one");
  });

  test("stop one without the other", async () => {
    const load = startLoad({ url: two.url("/echo-svc"), perSecond: 50 });
    expect(await one.stop()).toBe(0);
    expect(failures(await load.stop())).toEqual([]);
    expect(await byName(two)).toBe("two");
  });
});

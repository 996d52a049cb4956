import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { freePort, waitFor } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { ListenerKeeper, portHolder } from "./index.ts";

const program = new URL("./fixtures/listening-program.ts", import.meta.url).pathname;
const keepingProgram = new URL("./fixtures/keeping-program.ts", import.meta.url).pathname;
let keeper: ListenerKeeper;
let port = 0;
const children: ChildProcess[] = [];

beforeEach(async () => {
  keeper = new ListenerKeeper();
  port = await freePort();
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  keeper.close();
});

async function start(parent = keeper): Promise<ChildProcess> {
  const child = spawn(process.execPath, [program, String(port)], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  children.push(child);
  await parent.attach(child);
  return child;
}
const gone = (child: ChildProcess) => new Promise((resolve) => child.once("exit", resolve));
const ask = () =>
  new Promise<string>((resolve) => {
    request({ host: "127.0.0.1", port, agent: false }, (response) =>
      response.setEncoding("utf8").on("data", resolve).on("error", resolve),
    )
      .on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      .end();
  });
const askByUdp = () =>
  new Promise<string>((resolve) => {
    const socket = createSocket("udp4");
    socket.once("message", (answer) => {
      socket.close();
      resolve(answer.toString());
    });
    socket.send("who", port, "127.0.0.1");
  });
const pidsOf = (processes: readonly ChildProcess[]) => processes.map(({ pid }) => String(pid));

describe("a parent that keeps listening sockets", () => {
  test("lets connections and datagrams wait while no process is there; they reach the next one", async () => {
    const first = await start();
    expect(await ask()).toBe(String(first.pid));
    expect(await askByUdp()).toBe(String(first.pid));
    first.kill("SIGKILL");
    await gone(first);
    const waiting = Promise.all([ask(), askByUdp()]);
    const second = await start();
    expect(await waiting).toEqual([String(second.pid), String(second.pid)]);
  });

  test("lets a successor take over while the one before still answers; nothing is refused", async () => {
    const first = await start();
    const answers: Promise<string>[] = [];
    const timer = setInterval(() => answers.push(ask()), 2);
    const second = await start();
    first.kill("SIGTERM");
    await gone(first);
    expect(await ask()).toBe(String(second.pid));
    clearInterval(timer);
    const told = new Set(await Promise.all(answers));
    expect(pidsOf([first, second])).toEqual(expect.arrayContaining([...told]));
  });

  test("lets go of an address that its process has closed for good", async () => {
    const first = await start();
    first.send("move");
    await waitFor(async () => (await ask()) === "ECONNREFUSED", { describe: "the address to be free" });
    expect(await askByUdp()).toBe(String(first.pid));
  });
});

describe("a keeper whose own parent keeps", () => {
  const listening = async () => Number(await ask());
  async function startBetween(): Promise<ChildProcess> {
    const stdio = ["ignore", "inherit", "inherit", "ipc"] as const;
    const between = spawn(process.execPath, [keepingProgram, program, String(port)], { stdio: [...stdio] });
    children.push(between);
    await keeper.attach(between);
    return between;
  }

  test("dies together with the process that listens, and connections wait for their successors", async () => {
    const between = await startBetween();
    const first = await listening();
    between.kill("SIGKILL");
    process.kill(first, "SIGKILL");
    await gone(between);
    const waiting = Promise.all([ask(), askByUdp()]);
    await startBetween();
    const [byTcp, byUdp] = await waiting;
    expect(Number(byTcp)).toBeGreaterThan(0);
    expect([byTcp, byUdp]).toEqual([await ask(), await ask()]);
    expect(byTcp).not.toBe(String(first));
    process.kill(await listening(), "SIGKILL");
  });

  test("dies alone, and what it leaves behind gives way to a successor on the same socket, whose queue stays long", async () => {
    const between = await startBetween();
    const first = await listening();
    between.kill("SIGKILL");
    await gone(between);
    await startBetween();
    process.kill(first, "SIGTERM");
    await waitFor(() => !existsSync(`/proc/${first}`), { describe: "the first to have gone" });
    const second = await listening();
    process.kill(second, "SIGSTOP");
    onTestFinished(() => void process.kill(second, "SIGKILL"));
    // Nobody accepts now: as many connections stand as the queue is long.
    const clients = Array.from({ length: 50 }, () => connect(port, "127.0.0.1"));
    await Promise.all(clients.map((client) => once(client, "connect")));
    for (const client of clients) client.destroy();
  });

  test("lets its parent let go", async () => {
    const between = await startBetween();
    process.kill(await listening(), "SIGKILL");
    between.send("end");
    await waitFor(async () => (await ask()) === "ECONNREFUSED", { describe: "the address to be free" });
  });
});

test("processes whose parents have died hand over, twelve times, without losing a connection", async () => {
  let parent = new ListenerKeeper();
  let current = await start(parent);
  const all = [current];
  const answers: Promise<string>[] = [];
  const timer = setInterval(() => answers.push(ask()), 4);
  for (let turn = 0; turn < 12; turn += 1) {
    parent.close();
    current.disconnect();
    parent = new ListenerKeeper();
    const next = await start(parent);
    all.push(next);
    current.kill("SIGTERM");
    await gone(current);
    current = next;
  }
  clearInterval(timer);
  const told = new Set(await Promise.all(answers));
  parent.close();
  expect(pidsOf(all)).toEqual(expect.arrayContaining([...told]));
}, 60_000);

test("who has a port is named, also when it listens on every address", async () => {
  const holder = spawn(process.execPath, ["-e", `require("net").createServer().listen(${port}, () => console.log())`]);
  children.push(holder);
  await once(holder.stdout, "data");
  expect(portHolder(port)).toMatchObject({ pid: holder.pid, name: "node" });
  expect(portHolder(port, { address: "127.9.9.9" })).toMatchObject({ pid: holder.pid });
  const own = createServer().listen(0, "127.0.0.1");
  await once(own, "listening");
  expect(portHolder((own.address() as { port: number }).port)).toBeUndefined();
  own.close();
});

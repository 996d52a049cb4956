import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { freePort } from "@hms/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ListenerKeeper } from "./index.ts";

const program = new URL("./fixtures/listening-program.ts", import.meta.url).pathname;
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

async function start(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [program, String(port)], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  children.push(child);
  await keeper.attach(child);
  return child;
}
const gone = (child: ChildProcess) => new Promise((resolve) => child.once("exit", resolve));
const ask = async () => (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } })).text();
const askByUdp = () =>
  new Promise<string>((resolve) => {
    const socket = createSocket("udp4");
    socket.once("message", (answer) => {
      socket.close();
      resolve(answer.toString());
    });
    socket.send("who", port, "127.0.0.1");
  });

test("connections and datagrams wait while no process is there, and reach the next one", async () => {
  const first = await start();
  expect(await ask()).toBe(String(first.pid));
  expect(await askByUdp()).toBe(String(first.pid));
  first.kill("SIGKILL");
  await gone(first);
  const waiting = Promise.all([ask(), askByUdp()]);
  const second = await start();
  expect(await waiting).toEqual([String(second.pid), String(second.pid)]);
});

test("a successor takes over while the one before still answers, and nothing is refused", async () => {
  const first = await start();
  const answers: Promise<string>[] = [];
  const timer = setInterval(() => answers.push(ask()), 2);
  const second = await start();
  first.kill("SIGTERM");
  await gone(first);
  expect(await ask()).toBe(String(second.pid));
  clearInterval(timer);
  const pids = new Set(await Promise.all(answers));
  expect([...pids].every((pid) => pid === String(first.pid) || pid === String(second.pid))).toBe(true);
});

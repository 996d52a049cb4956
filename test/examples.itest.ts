import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, createServer, request, type Server } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, waitFor } from "@hms/testkit";
import { afterEach, beforeAll, describe, expect, it } from "vitest";

const examples = new URL("../examples/", import.meta.url);
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

interface Program {
  port: number;
  child: ChildProcess;
  exit: Promise<[code: number | null, signal: string | null]>;
  /** The answer of one request on a connection of its own. */
  post(path: string, body: string, headers?: Record<string, string>): Promise<{ status: number; body: unknown }>;
}

/** Starts an example as its manifest does, with nothing but PORT and what is given; answers once it listens. */
async function start(folder: string, command: string, env: Record<string, string> = {}): Promise<Program> {
  const port = await freePort();
  const child = spawn(`exec ${command}`, {
    shell: true,
    cwd: new URL(folder, examples),
    env: { PATH: process.env.PATH, PORT: String(port), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (output += data));
  const exit = once(child, "exit") as Program["exit"];
  cleanups.push(async () => {
    child.kill("SIGKILL");
    await exit;
  });
  await waitFor(() => accepts(port), { describe: () => `${folder} to listen on ${port}; it wrote ${output}` });
  const post: Program["post"] = async (path, body, headers = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", connection: "close", ...headers },
      body,
    });
    return { status: answer.status, body: await answer.json() };
  };
  return { port, child, exit, post };
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } finally {
    socket.destroy();
  }
}

const startReceipt = () => start("receipt/", "node index.js");
const startPayment = (proxy: string) => start("payment/", "python3 payment.py", { http_proxy: proxy });

/** An HTTP proxy that plays the mesh's part: it knows one name. */
async function startMesh(answer: (body: string) => Promise<{ status: number; body: string }>): Promise<string> {
  const server: Server = createServer(async (incoming, outgoing) => {
    let body = "";
    for await (const chunk of incoming) body += chunk;
    if (incoming.url !== "http://receipt-svc.mesh/receipt") outgoing.writeHead(421).end();
    else {
      const answered = await answer(body);
      outgoing.writeHead(answered.status, { "content-type": "application/json" }).end(answered.body);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

const PAYMENT = JSON.stringify({ email: "a@b.c", amount: 12 });

/** Sends one request over the agent's kept-alive connection. */
async function keptAlive(agent: Agent, { port, body }: { port: number; body: string }): Promise<number> {
  const sent = request({ port, host: "127.0.0.1", path: "/pay", method: "POST", agent });
  sent.end(body);
  const [answer] = await once(sent, "response");
  answer.resume();
  await once(answer, "end");
  return answer.statusCode;
}

describe("the receipt example", () => {
  it("sends a receipt, says that it is well, refuses what is none, and ends on SIGTERM", async () => {
    const receipt = await startReceipt();
    expect(await receipt.post("/receipt", PAYMENT)).toEqual({
      status: 200,
      body: { ok: true, ref: expect.stringMatching(/^R-\d+$/) },
    });
    expect((await receipt.post("/receipt", "{}")).status).toBe(400);
    expect((await fetch(`http://127.0.0.1:${receipt.port}/healthz`)).status).toBe(200);
    receipt.child.kill("SIGTERM");
    expect(await receipt.exit).toEqual([0, null]);
  });
});

it("the program of the guide to the first deploy answers, and ends on SIGTERM", async () => {
  const guide = readFileSync(new URL("../docs/guide/first-deploy.md", examples), "utf8");
  const folder = mkdtempSync(join(tmpdir(), "hello-"));
  cleanups.push(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "hello.mjs"), /```js\n(.*?)```/s.exec(guide)?.[1] ?? "");
  const hello = await start(`${folder}/`, "node hello.mjs");
  const answer = await fetch(`http://127.0.0.1:${hello.port}/hello`, { headers: { connection: "close" } });
  expect(await answer.text()).toBe("Hello from version 1\n");
  hello.child.kill("SIGTERM");
  expect(await hello.exit).toEqual([0, null]);
});

describe("the payment example", () => {
  it("pays by calling the receipt example by its mesh name", async () => {
    const receipt = await startReceipt();
    const mesh = await startMesh(async (body) => {
      const answered = await receipt.post("/receipt", body);
      return { status: answered.status, body: JSON.stringify(answered.body) };
    });
    const payment = await startPayment(mesh);
    const answer = await fetch(`http://127.0.0.1:${payment.port}/pay`, { method: "POST", body: PAYMENT });
    expect(await answer.text()).toMatch(/^\{"ok":true,"ref":"R-\d+"\}$/);
  });

  describe("refuses", () => {
    let payment: Program;
    beforeAll(async () => {
      payment = await startPayment("http://127.0.0.1:9");
      const clean = cleanups.splice(0);
      return async () => {
        for (const end of clean) await end();
      };
    });

    it.each([
      ["not JSON", "x", 400],
      ["bytes that are no text", "\u0000", 400],
      ["nesting without end", "[".repeat(60_000), 400],
      ["no object", "[]", 400],
      ["no address", '{"amount": 1}', 422],
      ["an address without @", '{"email": "abc", "amount": 1}', 422],
      ["no amount", '{"email": "a@b.c"}', 422],
      ["a truth value", '{"email": "a@b.c", "amount": true}', 422],
      ["nothing to pay", '{"email": "a@b.c", "amount": 0}', 422],
      ["an endless amount", '{"email": "a@b.c", "amount": 1e999}', 422],
      ["no number", '{"email": "a@b.c", "amount": NaN}', 422],
      ["a huge integer", `{"email": "a@b.c", "amount": 1${"0".repeat(400)}}`, 422],
      ["too much", `{"email": "${"a".repeat(70_000)}@b.c", "amount": 1}`, 413],
    ])("%s", async (_, body, status) => {
      const answer = await payment.post("/pay", body);
      expect(answer).toEqual({ status, body: { ok: false, error: expect.stringMatching(/\.$/) } });
    });

    it("other paths and methods", async () => {
      expect((await payment.post("/other", PAYMENT)).status).toBe(404);
      const read = await fetch(`http://127.0.0.1:${payment.port}/pay`);
      expect([read.status, read.headers.get("allow")]).toEqual([405, "POST"]);
    });

    it("a payment whose receipt cannot be sent, with 502", async () => {
      const answer = await payment.post("/pay", PAYMENT);
      expect(answer).toEqual({ status: 502, body: { ok: false, error: expect.stringContaining("receipt service") } });
    });
  });

  it.each([
    ["an error", { status: 503, body: "{}" }, "answered 503"],
    ["nonsense", { status: 200, body: "<html>" }, "could not be reached"],
    ["no reference", { status: 200, body: "{}" }, "could not be reached"],
  ])("reports 502 if the receipt service answers with %s", async (_, answered, message) => {
    const payment = await startPayment(await startMesh(async () => answered));
    const answer = await payment.post("/pay", PAYMENT);
    expect(answer).toEqual({ status: 502, body: { ok: false, error: expect.stringContaining(message) } });
  });

  it("answers the request it works on after SIGTERM, drops idle connections, and ends", async () => {
    let release = (): void => {};
    let asked = (): void => {};
    const arrived = new Promise<void>((resolve) => (asked = resolve));
    const held = new Promise<void>((resolve) => (release = resolve));
    const mesh = await startMesh(async (body) => {
      if (body.includes("slow@")) {
        asked();
        await held;
      }
      return { status: 200, body: '{"ref":"R-1"}' };
    });
    const payment = await startPayment(mesh);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    cleanups.push(() => agent.destroy());
    expect(await keptAlive(agent, { port: payment.port, body: PAYMENT })).toBe(200);
    expect(await keptAlive(agent, { port: payment.port, body: PAYMENT })).toBe(200);
    const silent = connect(payment.port, "127.0.0.1");
    cleanups.push(() => silent.destroy());
    await once(silent, "connect");
    const slow = payment.post("/pay", '{"email":"slow@b.c","amount":1}');
    await arrived;
    payment.child.kill("SIGTERM");
    await waitFor(async () => !(await accepts(payment.port).catch(() => false)), { describe: "it to take no more" });
    release();
    expect(await slow).toEqual({ status: 200, body: { ok: true, ref: "R-1" } });
    expect(await payment.exit).toEqual([0, null]);
  });
});

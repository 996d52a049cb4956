import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { createClient } from "@hms/kernel";
import { echoContract, echoKernel } from "@hms/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connectSocket, serveSocket } from "./index.ts";
import { Stage } from "./registry-on-socket.ts";

/** A program of the machine, not of the project. */
const GO = "go";
const INTEROP = join(import.meta.dirname, "..", "interop");

/** Why the suite cannot run here; undefined if it can. Offline machines need the modules in Go's cache. */
function missing(): string | undefined {
  try {
    execFileSync(GO, ["version"], { stdio: "ignore" });
  } catch {
    return "go is not installed";
  }
  try {
    execFileSync(GO, ["mod", "download"], { cwd: INTEROP, stdio: "ignore", timeout: 30_000 });
  } catch {
    return "the Go modules are not in the cache and cannot be downloaded";
  }
  return undefined;
}

const why = missing();
const contract = echoContract();

describe.skipIf(why !== undefined)(`stock ttrpc (github.com/containerd/ttrpc)${why ? `: skipped, ${why}` : ""}`, () => {
  const built = new Stage();
  const stage = new Stage();
  let program = "";

  beforeAll(async () => {
    program = join(dirname(dirname(await built.socketPath())), "interop");
    execFileSync(GO, ["build", "-o", program, "."], { cwd: INTEROP, stdio: "inherit" });
  }, 180_000);
  afterAll(() => built.release());
  afterEach(() => stage.release());

  test("as a client calls our server in all four ways", async () => {
    const path = await stage.socketPath();
    const server = await serveSocket(echoKernel(contract), { path });
    stage.defer(() => server.close({ graceMs: 0 }));
    const child = spawn(program, ["client", path], { stdio: ["ignore", "pipe", "inherit"] });
    stage.defer(() => child.kill("SIGKILL"));
    let text = "";
    for await (const chunk of child.stdout) text += chunk;
    expect(JSON.parse(text)).toEqual({
      unary: "hello id=go-1 by=operator deadline=true",
      unaryError: "error NotFound: asked to fail",
      unknownMethod: "error Unimplemented: hms.test.v1.EchoService/Nothing is not served here.",
      large: (3 << 20) + " id=go-1 by=operator deadline=true".length,
      serverStream: ["a", "b", "c"],
      serverStreamError: ["a", "error Aborted: asked to fail"],
      manyMessages: 5000,
      clientStream: "a+b+c",
      bidi: ["re: a", "re: b", "re: c"],
      concurrent: 200,
    });
  });

  test("as a server answers our client in all four ways, and is not disturbed by what it does not know", async () => {
    const path = await stage.socketPath();
    mkdirSync(dirname(path));
    const child = spawn(program, ["server", path], { stdio: ["pipe", "pipe", "inherit"] });
    stage.defer(() => child.kill("SIGKILL"));
    await once(child.stdout, "data");
    const transport = connectSocket({ path, token: "secret" });
    stage.defer(() => transport.close());
    const client = createClient(contract, transport);
    const leave = new AbortController();
    const hanging = client.unary({ value: "hang" }, { signal: leave.signal }).catch((error) => error.code);
    const metadata = { "x-request-id": "ts-1" };
    expect((await client.unary({ value: "hello" }, { metadata, timeoutMs: 5_000 })).value).toBe(
      "hello id=ts-1 token=Bearer secret deadline=true",
    );
    leave.abort();
    expect(await hanging).toBe("CANCELLED");
    await expect(client.unary({ value: "fail" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: "asked to fail",
    });
    const late = client.unary({ value: "hang" }, { timeoutMs: 20 });
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(await texts(client.serverStream({ value: "a,b,c" }))).toEqual(["a", "b", "c"]);
    await expect(texts(client.serverStream({ value: "a,fail" }))).rejects.toMatchObject({ code: "ABORTED" });
    expect((await client.clientStream(each("a", "b", "c"))).value).toBe("a+b+c");
    expect(await texts(client.bidi(each("a", "b", "c")))).toEqual(["re: a", "re: b", "re: c"]);
    const calls = Array.from({ length: 200 }, (_, n) => client.unary({ value: `n${n}` }));
    const right = (await Promise.all(calls)).filter(({ value }, n) => value.startsWith(`n${n} `));
    expect(right).toHaveLength(200);
    child.stdin.end();
    await once(child, "exit");
    await expect(client.unary({ value: "gone" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

async function* each(...values: string[]): AsyncGenerator<{ value: string }> {
  for (const value of values) yield { value };
}

async function texts(messages: AsyncIterable<{ value: string }>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { value } of messages) seen.push(value);
  return seen;
}

import { createServer as createHttp1, get } from "node:http";
import { connect as connectHttp2, createServer as createHttp2 } from "node:http2";
import { connect } from "node:net";
import { createClient } from "@hms/kernel";
import { echoContract, echoKernel } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { connectSocket, serveSocket } from "./index.ts";
import { Stage, until } from "./registry-on-socket.ts";

const stage = new Stage();
afterEach(() => stage.release());
const contract = echoContract();

async function served() {
  const http1 = createHttp1((request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => response.end(`1.1 ${request.method} ${request.url} ${body.length}`));
  });
  const http2 = createHttp2((request, response) => {
    response.end(`2 ${request.url}`);
  });
  const path = await stage.socketPath();
  let left = 0;
  const server = await serveSocket(echoKernel(contract), {
    path,
    graceMs: 5_000,
    also: {
      http1: (socket) => {
        http1.emit("connection", socket);
        return () => {
          left += 1;
          socket.end();
        };
      },
      http2: (socket) => {
        http2.emit("connection", socket);
        return () => socket.end();
      },
    },
  });
  stage.defer(() => server.close({ graceMs: 0 }));
  return { path, server, left: () => left };
}

const textOf = (path: string, url: string) =>
  new Promise<string>((resolve, reject) => {
    get({ socketPath: path, path: url, agent: false }, async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      resolve(text);
    }).on("error", reject);
  });

async function textOfHttp2(path: string, url: string): Promise<string> {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(path) });
  const stream = session.request({ ":path": url });
  let text = "";
  for await (const chunk of stream) text += chunk;
  session.destroy();
  return text;
}

describe("one socket file", () => {
  test("answers frames, HTTP/1.1 and HTTP/2, told by their first bytes", async () => {
    const { path } = await served();
    const transport = connectSocket({ path });
    stage.defer(() => transport.close());
    expect((await createClient(contract, transport).unary({ value: "a" })).value).toMatch(/^a /);
    expect(await textOf(path, "/one")).toBe("1.1 GET /one 0");
    expect(await textOfHttp2(path, "/two")).toBe("2 /two");
  });

  test("tells them apart also if they arrive byte by byte", async () => {
    const { path } = await served();
    const socket = connect(path);
    const body = "x".repeat(100);
    for (const byte of `PUT /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 100\r\n\r\n${body}`) {
      socket.write(byte);
      for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    let text = "";
    for await (const chunk of socket) text += chunk;
    expect(text).toContain("1.1 PUT /slow 100");
  });

  test("answers what is none of them as before", async () => {
    const { path } = await served();
    const socket = connect(path);
    socket.write("\u0016\u0003\u0001");
    let text = "";
    for await (const chunk of socket) text += chunk;
    expect(text).toContain("speaks HMS-SYS frames");
  });

  test("lets each protocol end its own connections when the server stops", async () => {
    const { path, server, left } = await served();
    const idle = connect(path);
    idle.write("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    await new Promise((resolve) => idle.once("data", resolve));
    await until(() => server.connections === 1);
    idle.resume();
    await server.close();
    expect(left()).toBe(1);
  });
});

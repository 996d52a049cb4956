import { once } from "node:events";
import { createServer as createHttp1 } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type AuditEvent, anonymous, type Credentials, createClient, type Policy } from "@hms/kernel";
import { echoKernel, namesLeadTo, waitFor } from "@hms/testkit";
import { serveFrames } from "@hms/wire";
import { afterEach, describe, expect, test } from "vitest";
import { alsoHttp2 } from "./also-http2.ts";
import { connectGrpc } from "./grpc-transport.ts";
import { type HttpPatience, httpProtocols } from "./http-protocols.ts";
import { createRpcListener } from "./rpc-listener.ts";
import { contract } from "./testing/rpc-stage.ts";

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

type Listener = Parameters<typeof httpProtocols>[0];

/** A port at which a listener answers beside frames. */
async function served(listener: Listener, patience: HttpPatience = {}): Promise<number> {
  const also = httpProtocols(listener, patience);
  const server = await serveFrames(echoKernel(contract), { address: "tcp://127.0.0.1:0", also });
  stack.defer(() => server.close({ graceMs: 0 }));
  return Number(server.address.split(":").at(-1));
}

function opened(port: number, first: string): Socket {
  const socket = connect(port, "127.0.0.1");
  stack.defer(() => void socket.destroy());
  socket.write(first);
  return socket;
}

async function saidBy(socket: Socket): Promise<string> {
  let said = "";
  for await (const chunk of socket) said += chunk;
  return said;
}

async function asked(port: number, path = "/"): Promise<{ status: number; text: string }> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  stack.defer(() => void session.destroy());
  const stream = session.request({ ":path": path }).setEncoding("utf8");
  const [{ ":status": status }] = await once(stream, "response");
  let text = "";
  for await (const chunk of stream) text += chunk;
  session.close();
  return { status, text };
}

describe("HTTP on the port of frames", () => {
  test("lets a client go that does not end the head of its request", async () => {
    const port = await served((_, response) => response.end(), { headTimeoutMs: 100 });
    expect(await saidBy(opened(port, "GET / HTTP/1.1\r\nhost: a\r\n"))).toBe("");
  });

  test("ends sessions of HTTP/2 on which nothing is asked, and none on which something runs", async () => {
    let end = (): void => {};
    const port = await served(
      (_, response) => {
        response.write("begun");
        end = () => response.end(" done");
      },
      { idleTimeoutMs: 100 },
    );
    const [idle, busy] = [connectHttp2(`http://127.0.0.1:${port}`), connectHttp2(`http://127.0.0.1:${port}`)];
    stack.defer(() => void idle.destroy());
    stack.defer(() => void busy.destroy());
    const stream = busy.request({ ":path": "/" }).setEncoding("utf8");
    let text = "";
    stream.on("data", (chunk) => (text += chunk));
    await once(idle, "close");
    await waitFor(() => text === "begun", { describe: "the answer to begin" });
    expect(busy.closed).toBe(false);
    end();
    await once(stream, "close");
    expect(text).toBe("begun done");
  });
});

describe("a server of HTTP/1.1 that answers HTTP/2 too", () => {
  const version: Listener = ({ httpVersion, url }, response) => {
    if (url !== "/never") response.end(httpVersion);
  };

  async function both(listener: Listener = version) {
    const server = createHttp1(listener);
    const others = alsoHttp2(server, httpProtocols(listener).http2);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    stack.defer(async () => {
      others.destroy();
      server.closeAllConnections();
      if (server.listening) server.close();
    });
    return { server, port: (server.address() as AddressInfo).port, others };
  }

  test("tells them by their first bytes, however these arrive", async () => {
    const { port } = await both();
    expect(await asked(port)).toEqual({ status: 200, text: "2.0" });
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("1.1");
    const slow = opened(port, "P");
    await new Promise(setImmediate);
    slow.write("OST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    expect(await saidBy(slow)).toMatch(/1\.1$/);
    expect(await saidBy(opened(port, "\0\0\0"))).toContain("400");
  });

  test("takes calls from there as from the network", async () => {
    const seen: Credentials[] = [];
    const authenticate = (credentials: Credentials) => {
      seen.push(credentials);
      return anonymous;
    };
    const rpc = createRpcListener(echoKernel(contract, {}, { identity: { authenticate } }));
    const { port } = await both(rpc);
    const transport = stack.use(connectGrpc({ address: `grpc://127.0.0.1:${port}`, token: "t" }));
    await createClient(contract, transport).unary({ value: "a" });
    await createClient(contract, transport).unary({ value: "a" });
    expect(seen[0]).toEqual({ transport: "network", token: "t" });
    expect(new Set(seen).size).toBe(1);
  });

  test("stops although clients have said nothing yet, or wait", async () => {
    const { server, port, others } = await both();
    const silent = opened(port, "");
    const waiting = connectHttp2(`http://127.0.0.1:${port}`);
    const lost = new Promise((resolve) =>
      waiting.request({ ":path": "/never" }).on("error", resolve).on("close", resolve),
    );
    await asked(port);
    const closed = once(server, "close");
    server.close();
    others.leave();
    await once(silent.resume(), "close");
    others.destroy();
    await Promise.all([closed, lost]);
  });
});

describe("a caller whom nobody knows", () => {
  test("is refused before what it sends is read, and recorded once", async () => {
    const events: AuditEvent[] = [];
    const policy: Policy = {
      decide: ({ principal }) =>
        principal.kind === "anonymous" ? { allowed: false, reason: "nobody known" } : { allowed: true },
    };
    const audit = { accepts: true, record: (event: AuditEvent) => void events.push(event) };
    const rpc = createRpcListener(echoKernel(contract, {}, { policy, audit }));
    const port = await served(rpc);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    stack.defer(() => void session.destroy());
    const fields = { ":method": "POST", ":path": `/${contract.typeName}/Unary`, te: "trailers" };
    const refused = session.request({ ...fields, "content-type": "application/grpc" });
    // A message of 3 MiB is announced and never comes.
    refused.write(Buffer.from([0, 0, 0x30, 0, 0, 1]));
    const [trailers] = await once(refused.resume(), "trailers");
    expect(trailers["grpc-status"]).toBe("16");
    const large = { "content-type": "application/json", "content-length": "3000000" };
    const [{ ":status": status }] = await once(session.request({ ...fields, ...large }), "response");
    expect(status).toBe(401);
    expect(events.map(({ outcome }) => outcome)).toEqual(["denied", "denied"]);
    const transport = stack.use(connectGrpc({ address: `grpc://127.0.0.1:${port}`, token: "t" }));
    const { value } = await createClient(contract, transport).unary({ value: "x".repeat(1 << 20) });
    expect(value.length).toBeGreaterThan(1 << 20);
  });
});

describe("a name", () => {
  test.each(["grpc", "grpcs"])("that leads to a special network is not connected to by %s", async (scheme) => {
    let connected = 0;
    const server = createServer((socket) => {
      connected += 1;
      socket.destroy();
    }).listen(0, "0.0.0.0");
    await once(server, "listening");
    stack.defer(() => void server.close());
    const address = `${scheme}://metadata.example:${(server.address() as AddressInfo).port}`;
    const none = () => "";
    using _ = namesLeadTo({ "metadata.example": "0.0.0.0" });
    await using transport = connectGrpc({ address, tls: { key: none, cert: none, ca: none } });
    await expect(createClient(contract, transport).unary({ value: "" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(connected).toBe(0);
  });
});

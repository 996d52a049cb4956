import { once } from "node:events";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { grpcHealth, type status } from "@hms/contracts";
import { createClient as createKernelClient, errorFromStatus, HmsError } from "@hms/kernel";
import { echoKernel } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { afterEach, describe, expect, test } from "vitest";
import { createRpcListener } from "./rpc-listener.ts";
import { contract, each, RpcStage, texts } from "./testing/rpc-stage.ts";

const stage = new RpcStage();
afterEach(() => stage.release());

const transports = {
  "Connect over HTTP/1.1": (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "Connect over HTTP/2": (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "2" }),
  "Connect in protobuf": (baseUrl: string) =>
    createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true }),
  "gRPC-Web over HTTP/1.1": (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "gRPC-Web over HTTP/2": (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  "gRPC by another's client": (baseUrl: string) => createGrpcTransport({ baseUrl }),
  "Connect by GET": (baseUrl: string) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useHttpGet: true, useBinaryFormat: false }),
};

describe.each(Object.entries(transports))("%s", (name, transport) => {
  test("calls in all the ways it can", async () => {
    const { http } = await stage.serve();
    const client = createClient(contract as never, transport(http)) as never as ReturnType<
      typeof createClient<typeof contract>
    >;
    const headers = { authorization: "Bearer t", "x-request-id": "r-1" };
    const answer = await client.read({ value: "ä" }, { headers, timeoutMs: 5_000 });
    expect(answer.value).toBe("ä id=r-1 by=operator deadline=true");
    expect((await client.unary({ value: "a" })).value).toMatch(/^a /);
    expect(await texts(client.serverStream({ value: "a,b" }))).toEqual(["a", "b"]);
    expect((await client.clientStream(each("a", "b"))).value).toBe("a+b");
    if (name.includes("1.1") || name.includes("GET")) return;
    expect(await texts(client.bidi(each("a", "b")))).toEqual(["re: a", "re: b"]);
  });

  test("brings the same detail bytes as every edge", async () => {
    const error = new HmsError("ABORTED", "Why.", { reason: "R", metadata: { a: "b" }, retryAfterMs: 2_000 });
    const kernel = echoKernel(contract, {
      unary: () => {
        throw error;
      },
    });
    const { http } = await stage.serve({ kernel });
    const client = createClient(contract as never, transport(http)) as never as ReturnType<
      typeof createClient<typeof contract>
    >;
    const thrown = await client.unary({}).catch((reason) => reason);
    expect(thrown).toMatchObject({ code: 10, rawMessage: "Why." });
    const details = thrown.details.map(({ type, value }: { type: string; value: Uint8Array }) => ({
      $typeName: "google.protobuf.Any",
      typeUrl: `type.googleapis.com/${type}`,
      value,
    }));
    const received = { $typeName: "google.rpc.Status", code: 10, message: "Why.", details } as status.Status;
    expect(errorFromStatus(received)).toEqual(error);
  });
});

describe("Connect as curl speaks it", () => {
  const post = (http: string, body: string, headers: Record<string, string> = {}) =>
    fetch(`${http}/hms.test.v1.EchoService/Unary`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
    });

  test("answers JSON to JSON, and errors with a status and readable details", async () => {
    const kernel = echoKernel(contract, {
      unary: ({ value }) => {
        if (value === "busy") throw new HmsError("RESOURCE_EXHAUSTED", "Busy.", { reason: "BUSY" });
        return { value };
      },
    });
    const { http } = await stage.serve({ kernel });
    expect(await (await post(http, '"a"')).json()).toBe("a");
    const busy = await post(http, '"busy"');
    expect(busy.status).toBe(429);
    expect(await busy.json()).toMatchObject({
      code: "resource_exhausted",
      message: "Busy.",
      details: [{ type: "google.rpc.ErrorInfo", debug: { reason: "BUSY", domain: "hms-sys" } }],
    });
    expect((await post(http, "{")).status).toBe(400);
    expect((await post(http, `${"[".repeat(100_000)}`)).status).toBe(400);
    expect((await post(http, `"${"x".repeat(5 << 20)}"`)).status).toBe(429);
  });

  test("may be a GET where nothing is changed, and only there", async () => {
    const { http } = await stage.serve();
    const call = (method: string) =>
      fetch(`${http}/hms.test.v1.EchoService/${method}?connect=v1&encoding=json&message=%22a%22`);
    expect(await (await call("Read")).json()).toMatch(/^a /);
    expect((await call("Unary")).status).toBe(405);
  });

  test("takes only what can be called: everything else is left to others", async () => {
    const { http } = await stage.serve();
    const text = async (path: string, init?: RequestInit) => (await fetch(`${http}${path}`, init)).text();
    expect(await text("/")).toBe("none");
    expect(
      await text("/v1.0/users", { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }),
    ).toBe("none");
    expect(await text("/hms.test.v1.EchoService/Unary")).toBe("none");
    expect(await text("/hms.test.v1.EchoService/Unary", { method: "PUT" })).toBe("none");
    const missing = await fetch(`${http}/hms.test.v1.EchoService/Nothing`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect([missing.status, ((await missing.json()) as { code: string }).code]).toEqual([404, "unimplemented"]);
  });
});

describe("one socket file", () => {
  test("answers frames, gRPC and Connect side by side, whose callers are users of the socket", async () => {
    const path = stage.socketPath();
    const seen: string[] = [];
    const authenticate = ({ transport }: { transport: string }) => {
      seen.push(transport);
      return { kind: "anonymous", id: "anonymous" } as const;
    };
    await stage.serve({ kernel: echoKernel(contract, {}, { identity: { authenticate } }), address: `unix:${path}` });
    const frames = connectSocket({ path });
    stage.defer(() => frames.close());
    await createKernelClient(contract, frames).unary({ value: "a" });
    const answer = await new Promise<string>((resolve, reject) => {
      const query = "?connect=v1&encoding=json&message=%22a%22";
      get({ socketPath: path, path: `/hms.test.v1.EchoService/Read${query}`, agent: false }, async (response) => {
        let text = "";
        for await (const chunk of response) text += chunk;
        resolve(text);
      }).on("error", reject);
    });
    expect(answer).toMatch(/^"a id=/);
    expect(seen).toEqual(["socket", "socket"]);
  });
});

describe("a listener of its own", () => {
  test("ends calls that only read when it is told to stop, and lets others finish", async () => {
    const stop = new AbortController();
    const rpc = createRpcListener(echoKernel(contract), { openReflection: true, stop: stop.signal, alone: true });
    const server = createServer(rpc).listen(0, "127.0.0.1");
    stage.defer(() => server.close());
    await once(server, "listening");
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const transport = createConnectTransport({ baseUrl, httpVersion: "1.1" });
    const watch = createClient(grpcHealth.Health, transport).watch({})[Symbol.asyncIterator]();
    await watch.next();
    stop.abort();
    await expect(watch.next()).rejects.toMatchObject({ code: 14 });
    const client = createClient(contract as never, transport) as never as ReturnType<
      typeof createClient<typeof contract>
    >;
    expect((await client.unary({ value: "a" })).value).toMatch(/^a /);
  });
});

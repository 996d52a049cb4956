import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectHttp2, type OutgoingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { join } from "node:path";
import { Code, createClient as createConnectClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { resolveInstance } from "@hms/config";
import { registry } from "@hms/contracts";
import { componentPrincipal, createClient, HmsError, implement, Kernel } from "@hms/kernel";
import { tempFolder, waitFor } from "@hms/testkit";
import { connectSocket, serveSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { libraryDescriptorSet, libraryService } from "../../packages/http-edge/src/testing/library-contract.ts";
import { errorAtEdges } from "./errors-at-edges.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
let token = "";
const stack = new AsyncDisposableStack();
beforeAll(async () => {
  platform = stack.use(await startPlatform());
  token = readFileSync(join(platform.data, "..", "c", "hms-sys", platform.instance, "operator.token"), "utf8").trim();
}, 120_000);
afterAll(() => stack.disposeAsync(), 60_000);

const TORN = new HmsError("FAILED_PRECONDITION", "The book is torn: größer.", {
  reason: "TORN",
  metadata: { page: "7", shelf: "1" },
  retryAfterMs: 1500,
  fieldViolations: [{ field: "name", description: "names a torn book." }],
});

/** A program that serves the library's contract on a socket of its own and registers with the platform. */
async function serveLibrary(): Promise<void> {
  const kernel = new Kernel({
    identity: { authenticate: () => componentPrincipal("caller") },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  const service = libraryService("LibraryService");
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
  };
  const all = Object.fromEntries(service.methods.map(({ localName }) => [localName, unused]));
  const own = {
    getBook: ({ name }: { name: string }) => {
      if (name.endsWith("/torn")) throw TORN;
      return { name, title: "from elsewhere" };
    },
    async *watchBooks({ count }: { count: number }) {
      for (let n = 1; n <= count; n += 1) yield { name: `books/${n}` };
    },
  };
  kernel.register(implement(service, { ...all, ...own } as never));
  const path = join(stack.use(tempFolder()).path, "library.sock");
  stack.use(await serveSocket(kernel, { path, graceMs: 100 }));
  const { kernelSocket } = resolveInstance({ instance: platform.instance, data: platform.data });
  const transport = stack.use(connectSocket({ path: kernelSocket, token }));
  await createClient(registry.RegistryService, transport).register({
    serviceId: "hms.library",
    version: "v1",
    instanceId: "one",
    address: `unix:${path}`,
    fileDescriptorSet: libraryDescriptorSet,
    leaseDuration: { seconds: 300n },
  });
}

const get = (path: string) => fetch(platform.url(path), { headers: { authorization: `Bearer ${token}` } });

test("a program that registers its contract is called by the contract's own routes at once, streams too", async () => {
  expect((await get("/v1/shelves/1/books/2")).status).toBe(404);
  await serveLibrary();
  const book = await waitFor(
    async () => {
      const response = await get("/v1/shelves/1/books/2");
      return response.status === 200 ? response.json() : undefined;
    },
    { describe: "the route of a program that has registered" },
  );
  expect(book).toEqual({ name: "shelves/1/books/2", title: "from elsewhere" });
  const streamed = (await (await get("/v1/books:watch?count=3")).text()).trim().split("\n");
  expect(streamed.map((line) => JSON.parse(line).name)).toEqual(["books/1", "books/2", "books/3"]);
  expect((await get("/v1/books?query=x")).status).toBe(501);
  const document = (await (await get("/openapi/hms.library.json")).json()) as { paths: object };
  expect(Object.keys(document.paths)).toContain("/v1/shelves/{shelf}/books/{book}");
});

test("an error of that program has the same google.rpc.Status, byte by byte, over frames, gRPC, gRPC-Web, Connect and REST", async () => {
  const method = libraryService("LibraryService").method.getBook ?? expect.unreachable();
  const name = "shelves/1/books/torn";
  const { kernelSocket: socket } = resolveInstance({ instance: platform.instance, data: platform.data });
  const call = { method, request: { name }, socket, url: platform.url, route: `/v1/${name}`, token };
  const { statuses, details } = await errorAtEdges(call);
  const { frames } = statuses;
  expect(frames).toContain(Buffer.from(TORN.message).toString("hex"));
  expect(statuses).toEqual({ frames, grpc: frames, grpcWeb: frames });
  const types = ["google.rpc.ErrorInfo", "google.rpc.RetryInfo", "google.rpc.BadRequest"];
  expect(details.frames.map(([type]) => type).sort()).toEqual(types.sort());
  for (const one of Object.values(details)) expect(one).toEqual(details.frames);
});

test("what has been counted of calls is there for Prometheus, with a token", async () => {
  await get("/openapi.json");
  const response = await get("/metrics");
  expect(response.headers.get("content-type")).toContain("version=0.0.4");
  expect(await response.text()).toMatch(
    /hms_ffi_calls_total\{service="hms\.ffi\.v1\.RegistryService",method="Register",code="OK"\} \d+/,
  );
  expect((await fetch(platform.url("/metrics"))).status).toBe(404);
});

describe("the edge's own socket, to which a gateway hands connections over as they are", () => {
  const paths = () => resolveInstance({ instance: platform.instance, data: platform.data });
  const h2c = () => {
    const createConnection = () => connect(paths().edgeSocket);
    const session = connectHttp2("http://127.0.0.1", { createConnection });
    stack.defer(() => void session.destroy());
    return session;
  };
  const statusOf = async (fields: OutgoingHttpHeaders) => {
    const stream = h2c().request({ ":path": "/v1/hms.ffi/List", ...fields });
    const [headers] = await once(stream, "response");
    stream.resume();
    return headers[":status"];
  };

  test("answers HTTP/2 with prior knowledge by the rules of HTTP/1.1: tokens, host names, origins", async () => {
    const authorization = `Bearer ${token}`;
    expect(await statusOf({ authorization, ":authority": "localhost:3000" })).toBe(200);
    expect(await statusOf({ ":authority": "localhost:3000" })).toBe(401);
    expect(await statusOf({ authorization, ":authority": "evil.test" })).toBe(421);
    expect(await statusOf({ authorization, ":authority": "localhost", host: "hms.localhost" })).toBe(400);
    expect(await statusOf({ authorization, origin: "http://evil.test" })).toBe(403);
    expect(await statusOf({ authorization, ":path": "/metrics" })).toBe(200);
    const pages = `${readFileSync(join(platform.data, "..", "c", "hms-sys", platform.instance, "platform.host"), "utf8").trim()}:${platform.network.gatewayPort}`;
    expect(await statusOf({ ":authority": pages, ":path": "/sign-in" })).toBe(200);
  });

  test("answers gRPC there, and refuses it to whoever shows nothing", async () => {
    const createConnection = () => connect(paths().edgeSocket);
    const transport = createGrpcTransport({ baseUrl: "http://127.0.0.1:3000", nodeOptions: { createConnection } });
    const client = createConnectClient(registry.RegistryService, transport);
    const headers = { authorization: `Bearer ${token}` };
    expect((await client.lookup({ serviceId: "hms.ffi" }, { headers })).service?.serviceId).toBe("hms.ffi");
    for await (const { kind } of client.watch({ pattern: "hms.ffi" }, { headers })) {
      expect(kind).toBe(registry.WatchEventKind.CURRENT);
      break;
    }
    await expect(client.lookup({ serviceId: "hms.ffi" })).rejects.toMatchObject({ code: Code.Unauthenticated });
  });
});

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { resolveInstance } from "@hms/config";
import { registry } from "@hms/contracts";
import { componentPrincipal, createClient, HmsError, implement, Kernel } from "@hms/kernel";
import { tempFolder, waitFor } from "@hms/testkit";
import { connectSocket, serveSocket } from "@hms/wire";
import { afterAll, beforeAll, expect, test } from "vitest";
import { libraryDescriptorSet, libraryService } from "../../packages/http-edge/src/testing/library-contract.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
let token = "";
const stack = new AsyncDisposableStack();
beforeAll(async () => {
  platform = stack.use(await startPlatform());
  token = readFileSync(join(platform.data, "..", "c", "hms-sys", platform.instance, "operator.token"), "utf8").trim();
}, 120_000);
afterAll(() => stack.disposeAsync(), 60_000);

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
    getBook: ({ name }: { name: string }) => ({ name, title: "from elsewhere" }),
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

test("what has been counted of calls is there for Prometheus, with a token", async () => {
  await get("/openapi.json");
  const response = await get("/metrics");
  expect(response.headers.get("content-type")).toContain("version=0.0.4");
  expect(await response.text()).toMatch(
    /hms_ffi_calls_total\{service="hms\.ffi\.v1\.RegistryService",method="Register",code="OK"\} \d+/,
  );
  expect((await fetch(platform.url("/metrics"))).status).toBe(404);
});

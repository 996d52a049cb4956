import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { tempFolder } from "@hms/testkit";
import { type Browser, chromium } from "playwright-core";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, startPlatform } from "../system/platform.ts";
import type { PageOrder, PageOutcome } from "./browser-page.ts";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const why = existsSync(CHROMIUM) ? undefined : `${CHROMIUM} is not installed`;
/** It is given no way to anybody but this machine. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const stack = new AsyncDisposableStack();
let platform: Platform;
let browser: Browser;
let token = "";
let foreign = "";

/** The page's script, as a build of its service would make it. */
async function script(): Promise<string> {
  const bundle = await rolldown({ input: join(import.meta.dirname, "browser-page.ts"), platform: "browser" });
  const { output } = await bundle.generate({ format: "iife" });
  await bundle.close();
  return output[0].code;
}

const PAGE = "<!doctype html><title>till</title><script src=page.js></script>";
/** Serves the page below a route of the gateway. */
const SERVER = `const { readFileSync } = require("node:fs");
const files = { "": ["text/html", ${JSON.stringify(PAGE)}], "page.js": ["text/javascript", readFileSync("page.js")] };
require("node:http").createServer(({ url }, response) => {
  const [type, body] = files[url.split("/").pop()] ?? ["text/plain", "ok"];
  response.setHeader("content-type", type);
  response.end(body);
}).listen(Number(process.env.PORT), "127.0.0.1");`;

const MANIFEST = `name: till-svc
version: "1"
run: { command: exec node server.js }
routes: [{ path: "/till/*", methods: [GET] }]
health: { http: /healthz, interval: 200ms, min_healthy_time: 200ms }
`;

/** The same page at an origin that is not the platform's. */
async function serveForeign(code: string): Promise<string> {
  const server = createServer(({ url }, response) => {
    response.setHeader("content-type", url === "/page.js" ? "text/javascript" : "text/html");
    response.end(url === "/page.js" ? code : PAGE);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

beforeAll(async () => {
  if (why) return;
  platform = stack.use(await startPlatform());
  token = readFileSync(join(platform.data, "..", "c", "hms-sys", platform.instance, "operator.token"), "utf8").trim();
  const code = await script();
  const manifest = platform.service("till-svc", MANIFEST, { "server.js": SERVER, "page.js": code });
  expect(await platform.cli("deploy", manifest)).toMatchObject({ code: 0 });
  foreign = await serveForeign(code);
  const profile = stack.use(tempFolder()).path;
  browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS, env: { ...process.env, HOME: profile } });
  stack.defer(() => browser.close());
}, 180_000);
afterAll(() => stack.disposeAsync(), 60_000);

/** Opens a page and lets it call; what the browser itself complains of is part of the outcome. */
async function call(at: string, order: Partial<PageOrder>): Promise<PageOutcome & { complaints: string[] }> {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(message.text()));
  expect((await page.goto(at))?.status()).toBe(200);
  const whole: PageOrder = { baseUrl: platform.url(""), token, protocol: "connect", binary: true, ...order };
  const outcome = await page.evaluate(
    (given) => (globalThis as unknown as { callPlatform(order: PageOrder): Promise<PageOutcome> }).callPlatform(given),
    whole,
  );
  await page.close();
  return { ...outcome, complaints };
}

describe.skipIf(why)(`a page in Chromium${why ? `: skipped, ${why}` : ""}`, () => {
  test.each([
    ["Connect with JSON", { protocol: "connect", binary: false }],
    ["Connect with protobuf", { protocol: "connect", binary: true }],
    ["gRPC-Web with JSON", { protocol: "grpc-web", binary: false }],
    ["gRPC-Web with protobuf", { protocol: "grpc-web", binary: true }],
  ] as const)(
    "that a deployed service serves calls the platform at the gateway in %s, streams too",
    async (_, order) => {
      expect(await call(platform.url("/till/"), order)).toMatchObject({
        serviceId: "hms.ffi",
        kinds: ["CURRENT", "SYNCED"],
        failure: "NotFound true",
      });
    },
  );

  test("is told when its token is none", async () => {
    const { refused } = await call(platform.url("/till/"), { token: "f".repeat(64) });
    expect(refused).toContain("Unauthenticated: The token is not known here");
  });

  test.each(["connect", "grpc-web"] as const)(
    "of another origin gets nothing in %s, although it has the token: its browser is not allowed to ask",
    async (protocol) => {
      const { refused, complaints } = await call(foreign, { protocol });
      expect(refused).toMatch(/^(Unknown|Internal|Unavailable): /);
      expect(complaints.join("\n")).toContain("blocked by CORS policy");
    },
  );

  test("of another origin cannot even send a request that needs no leave, by a form's media type", async () => {
    const page = await browser.newPage();
    await page.goto(foreign);
    const answered = page.waitForResponse((response) => response.url().includes("/v1/hms.ffi/"));
    await page.evaluate(
      (url) =>
        void fetch(url, { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body: "{}" }),
      platform.url("/v1/hms.ffi/Lookup"),
    );
    // Without credentials the gateway does not even pass it on.
    expect((await answered).status()).toBe(404);
    await page.close();
  });
});

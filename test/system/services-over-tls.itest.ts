import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { resolveInstance } from "@hms/config";
import { type ServedService, serve } from "@hms/ffi";
import { tempFolder, testAuthority, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, startPlatform } from "./platform.ts";

const stack = new AsyncDisposableStack();
const authority = testAuthority();
let platform: Platform;
let shop: ServedService;

/** Writes a certificate, its key and the authority as files into a folder. */
function writeIdentity(folder: string, ...names: string[]) {
  const { cert, key } = authority.issue(...names);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const files = { certificate: "cert.pem", key: "key.pem", authority: "ca.pem" };
  const texts = { certificate: cert, key, authority: authority.ca };
  for (const [what, name] of Object.entries(files)) {
    writeFileSync(join(folder, name), texts[what as keyof typeof texts], { mode: 0o600 });
  }
  return { certificate: join(folder, "cert.pem"), key: join(folder, "key.pem"), authority: join(folder, "ca.pem") };
}

const ownFolder = () => join(platform.env.XDG_CONFIG_HOME ?? "", "hms-sys", platform.instance);
const getPrice = () => platform.cli("ffi", "call", "demo.shop", "GetPrice", "sku=tea");

beforeAll(async () => {
  platform = stack.use(await startPlatform());
  const folder = stack.use(tempFolder()).path;
  const integer = { type: "integer" };
  shop = await serve({
    serviceId: "demo.shop",
    listen: "tls://127.0.0.1:0",
    tls: writeIdentity(folder, "URI:spiffe://elsewhere/env/default/svc/shop"),
    registryUrl: `unix:${resolveInstance(platform).kernelSocket}`,
    token: readFileSync(join(ownFolder(), "operator.token"), "utf8").trim(),
    methods: {
      GetPrice: {
        input: { type: "object", properties: { sku: { type: "string" } } },
        output: { type: "object", properties: { cents: integer } },
        handler: () => ({ cents: 250n }),
      },
    },
  });
  stack.use(shop);
  await shop.registered;
}, 120_000);
afterAll(() => stack.disposeAsync(), 60_000);

describe("a service on another machine, reached over mutual TLS", () => {
  test("cannot be called while the platform has no certificate, and says what is missing", async () => {
    const { code, stderr } = await getPrice();
    expect(code).toBe(1);
    expect(stderr).toContain("can be called from here (tls://");
    expect((await platform.cli("ffi", "explain", "demo.shop")).stdout).toContain("has no certificate of the platform");
  });

  test("is called by the platform for everybody once it has one", async () => {
    writeIdentity(join(ownFolder(), "tls"), "URI:spiffe://test/part/server");
    expect((await platform.cli("restart-component", "server")).code).toBe(0);
    await waitFor(async () => (await getPrice()).code === 0, { describe: "the service to be called over TLS" });
    expect(JSON.parse((await getPrice()).stdout)).toEqual({ cents: "250" });
  });
});

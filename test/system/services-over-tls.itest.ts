import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";
import { resolveInstance } from "@hms/config";
import { registry } from "@hms/contracts";
import { type ServedService, serve } from "@hms/ffi";
import { connectGrpc } from "@hms/grpc";
import { createClient } from "@hms/kernel";
import { freePort, tempFolder, testAuthority, waitFor } from "@hms/testkit";
import { connectFrames } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, runCommand, startPlatform } from "./platform.ts";

const stack = new AsyncDisposableStack();
const authority = testAuthority();
let platform: Platform;
let shop: ServedService;
let listen = "";

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
  listen = `tls://127.0.0.1:${await freePort()}`;
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

  test("is called by the platform for everybody once it has one, which then answers other machines too", async () => {
    const without = await platform.cli("up", "--take-over", "--detach", "--listen", listen);
    expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining(`${join(ownFolder(), "tls")}`) });
    writeIdentity(join(ownFolder(), "tls"), `URI:spiffe://${platform.instance}/part/server`, "DNS:hms.test");
    const { code, stderr } = await platform.cli("up", "--take-over", "--detach", "--listen", listen);
    expect(code, stderr).toBe(0);
    await waitFor(async () => (await getPrice()).code === 0, { describe: "the service to be called over TLS" });
    expect(JSON.parse((await getPrice()).stdout)).toEqual({ cents: "250" });
    expect((await platform.cli("doctor")).stdout).toContain(`${listen}, certificate until`);
  }, 60_000);
});

/** Runs a program as on another machine: what it knows of the platform is in its environment and its own file. */
async function runElsewhere(command: readonly string[], more: Record<string, string> = {}) {
  const folder = stack.use(tempFolder()).path;
  const files = writeIdentity(folder, `URI:spiffe://${platform.instance}/env/default/svc/till`);
  const lines = Object.entries(files).map(([name, path]) => `      ${name}: ${path}`);
  writeFileSync(join(folder, "ffi.yml"), ["ffi:", "  transport:", "    tls:", ...lines, ""].join("\n"));
  const own = { HMS_FFI_REGISTRY_URL: listen, HMS_FFI_CONFIG_PATH: join(folder, "ffi.yml"), XDG_STATE_HOME: folder };
  return runCommand([...command], { PATH: process.env.PATH, HOME: folder, ...own, ...more });
}

const sdks = join(import.meta.dirname, "../../sdks");
const inTypeScript = `import { Client } from ${JSON.stringify(join(sdks, "typescript/src/index.ts"))};
await using shop = new Client("demo.shop");
console.log(String((await shop.call("GetPrice", { sku: "tea" })).cents));`;
const inPython = `from hms_ffi.client import Client
print(Client("demo.shop").call("GetPrice", {"sku": "tea"})["cents"])`;

describe("the platform's own TLS port", () => {
  const token = () => readFileSync(join(ownFolder(), "operator.token"), "utf8").trim();
  const port = () => Number(listen.split(":").at(-1));
  const frames = (tls: Parameters<typeof connectFrames>[0]["tls"]) => {
    const transport = stack.use(connectFrames({ address: listen, token: token(), ...(tls ? { tls } : {}) }));
    return createClient(registry.RegistryService, transport);
  };
  const identity = (...names: string[]) => {
    const { cert, key } = authority.issue(...names);
    return { key: () => key, cert: () => cert, ca: () => authority.ca };
  };
  /** Asks by HTTP/1.1, with no certificate of one's own. */
  const ask = (path: string, headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) => {
      const options = { port: port(), path, headers, ca: authority.ca, checkServerIdentity: () => undefined };
      get(options, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      }).on("error", reject);
    });

  const allow = (role: string) => {
    const rule = { policy_id: "till", service: "demo.shop", allowed_roles: [role] };
    return platform.cli("ffi", "policy", "--put", JSON.stringify(rule));
  };
  const python = ["python3", "-c", inPython];
  const forPython = { PYTHONPATH: join(sdks, "python") };

  test.each([
    ["TypeScript", [process.execPath, "--input-type=module", "-e", inTypeScript], {}],
    ["Python", python, forPython],
  ])("is a registry for the %s SDK, to which a certificate says who calls", async (_, command, more) => {
    await allow("*");
    const { code, stdout, stderr } = await runElsewhere(command, more);
    expect([code, stdout.trim()], stderr).toEqual([0, "250"]);
  });

  test("lets nobody do there what no policy allows the service that the certificate names", async () => {
    await allow("nobody");
    expect((await runElsewhere(python, forPython)).stderr).toContain("till may not call demo.shop");
  });

  test("answers HTTP to whoever shows a token, at names of its certificate, and no page of another origin", async () => {
    const bearer = { authorization: `Bearer ${token()}` };
    const list = "/v1/hms.ffi/List";
    const [own, digits] = [
      { ...bearer, host: `hms.test:${port()}` },
      { ...bearer, host: `127.0.0.1:${port()}` },
    ];
    expect([await ask(list, own), await ask(list, digits)]).toEqual([200, 200]);
    expect(await ask("/metrics", own)).toBe(200);
    expect(await ask(list, { host: own.host })).toBe(401);
    expect(await ask(list, { ...bearer, host: "evil.test" })).toBe(421);
    expect(await ask(list, { ...bearer, host: "hms.localhost" })).toBe(421);
    expect(await ask(list, { ...own, origin: "https://evil.test" })).toBe(403);
    expect(await ask("/sign-in", own)).toBe(404);
  });

  test("answers gRPC, and keeps connections while its certificate is renewed", async () => {
    const tls = identity(`URI:spiffe://${platform.instance}/env/default/svc/till`);
    const grpc = stack.use(connectGrpc({ address: listen.replace("tls:", "grpcs:"), tls }));
    const [byGrpc, byFrames] = [createClient(registry.RegistryService, grpc), frames(tls)];
    const { service } = await byGrpc.lookup({ serviceId: "demo.shop" });
    expect(service?.serviceId).toBe("demo.shop");
    const watch = byFrames.watch({ pattern: "demo.shop" })[Symbol.asyncIterator]();
    expect((await watch.next()).done).toBe(false);
    const renewed = `spiffe://${platform.instance}/part/server-renewed`;
    writeIdentity(join(ownFolder(), "tls"), `URI:${renewed}`);
    await waitFor(
      () =>
        frames({ ...tls, expectedId: renewed })
          .list({})
          .then(
            () => true,
            () => false,
          ),
      { describe: "the renewed certificate to be shown" },
    );
    expect((await byGrpc.lookup({ serviceId: "demo.shop" })).service?.serviceId).toBe("demo.shop");
    const next = watch.next();
    await shop.close();
    expect((await next).done).toBe(false);
  });

  test("is closed to strangers' certificates, and again to everybody when it is taken away", async () => {
    const stranger = testAuthority().issue(`URI:spiffe://${platform.instance}/env/default/svc/till`);
    const theirs = { key: () => stranger.key, cert: () => stranger.cert, ca: () => authority.ca };
    await expect(frames(theirs).list({})).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    expect((await platform.cli("up", "--take-over", "--detach", "--listen", "none")).code).toBe(0);
    await expect(ask("/", {})).rejects.toMatchObject({ code: "ECONNREFUSED" });
  }, 60_000);
});

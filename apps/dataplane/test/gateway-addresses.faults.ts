import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { createServer } from "node:net";
import { writeGatewayListen } from "@hms/config";
import { ListenerKeeper } from "@hms/handover";
import { freePort, testAuthority, waitFor } from "@hms/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startDataPlane } from "./support/data-plane-process.ts";
import { type Installation, openInstallation } from "./support/installation.ts";
import { snapshotOf } from "./support/snapshots.ts";
import { startUpstream } from "./support/upstream.ts";

/** Loopback too, and still none of the addresses that the gateway has by itself. */
const OTHER = "127.0.0.2";
const authority = testAuthority();
let installation: Installation;
let stack: AsyncDisposableStack;
let port = 0;
let securePort = 0;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  installation = stack.use(await openInstallation());
  const upstream = stack.use(await startUpstream("from the service"));
  installation.store.save(snapshotOf(1, [{ name: "svc", upstreams: [upstream.port], path: "/*" }]));
  [port, securePort] = await Promise.all([freePort(), freePort()]);
});
afterEach(() => stack.disposeAsync());

const listenAt = (http: number[], https: number[] = []) =>
  writeGatewayListen(installation.paths, {
    http: http.map((one) => ({ host: OTHER, port: one })),
    https: https.map((one) => ({ host: OTHER, port: one })),
  });

async function ask(at: number, secure = false) {
  const start = secure ? requestHttps : requestHttp;
  // As browsers ask for a page.
  const headers = { host: "shop.test", accept: "text/html" };
  const asking = start({ host: OTHER, port: at, agent: false, headers, servername: "shop.test", ca: authority.ca });
  const [response] = await once(asking.end(), "response");
  let body = "";
  for await (const chunk of response.setEncoding("utf8")) body += chunk;
  return { status: response.statusCode as number, location: response.headers.location as string | undefined, body };
}
const answers = (at: number, secure = false) =>
  ask(at, secure).then(
    ({ body }) => body === "from the service",
    () => false,
  );

function putCertificate(): void {
  const { cert, key } = authority.issue("DNS:shop.test");
  mkdirSync(installation.paths.gatewayTls, { recursive: true });
  writeFileSync(`${installation.paths.gatewayTls}/key.pem`, key);
  writeFileSync(`${installation.paths.gatewayTls}/cert.pem`, cert);
}

test("the gateway listens where it is told to and nowhere else, from the start and after a change", async () => {
  listenAt([port]);
  const plane = stack.use(await startDataPlane(installation));
  expect(await answers(port)).toBe(true);
  expect(await answers(installation.network.gatewayPort)).toBe(false);
  expect((await fetch(`http://127.0.0.1:${installation.network.gatewayPort}/`)).status).toBe(200);
  listenAt([securePort]);
  await waitFor(() => answers(securePort), { describe: "the other address to be listened at" });
  expect(await answers(port)).toBe(false);
  writeFileSync(`${installation.paths.data}/gateway-listen.json`, "{");
  await waitFor(async () => (await plane.health()).problems.length > 0, { describe: "the broken file to be told" });
  expect((await plane.health()).problems[0]).toContain("hms-sys up --http-listen");
  expect(await answers(securePort)).toBe(true);
});

test("TLS is spoken there once there are certificates, and plain requests are sent to it", async () => {
  listenAt([port], [securePort]);
  stack.use(await startDataPlane(installation));
  expect(await answers(port)).toBe(true);
  expect(await answers(securePort, true)).toBe(false);
  putCertificate();
  await waitFor(() => answers(securePort, true), { describe: "TLS to be spoken" });
  expect(await ask(port)).toMatchObject({ status: 308, location: `https://shop.test:${securePort}/` });
  // Where TLS is not spoken to those who come from there, they are sent nowhere.
  listenAt([port]);
  await waitFor(() => answers(port), { describe: "plain requests to be answered" });
  expect(await answers(securePort, true)).toBe(false);
});

test("an address that is taken keeps nothing else waiting, is told of, and had once it is free", async () => {
  const holder = createServer().listen(port, OTHER);
  await once(holder, "listening");
  listenAt([port, securePort]);
  const plane = stack.use(await startDataPlane(installation));
  expect(await answers(securePort)).toBe(true);
  expect((await fetch(`http://127.0.0.1:${installation.network.gatewayPort}/`)).status).toBe(200);
  const told = `the gateway cannot listen at ${OTHER}:${port}: ${OTHER}:${port} (tcp) is taken by`;
  expect((await plane.health()).problems).toEqual([expect.stringContaining(told)]);
  expect(plane.said.split(told).length).toBe(2);
  holder.close();
  await waitFor(() => answers(port), { describe: "the address to be had" });
  expect((await plane.health()).problems).toEqual([]);
});

test("its sockets outlive a data plane: a new one takes over without a refused connection", async () => {
  listenAt([port], [securePort]);
  putCertificate();
  const keeper = new ListenerKeeper();
  stack.defer(() => keeper.close());
  const old = stack.use(await startDataPlane(installation, { keeper }));
  let failures = 0;
  let done = 0;
  let isEnding = false;
  const load = (async () => {
    while (!isEnding) {
      const plain = await ask(port).then(
        ({ status }) => status === 308,
        () => false,
      );
      if (plain && (await answers(securePort, true))) done += 1;
      else failures += 1;
    }
  })();
  await waitFor(() => done > 3, { describe: "answers" });
  old.child.kill("SIGKILL");
  await old.ended;
  stack.use(await startDataPlane(installation, { keeper }));
  const atEnd = done;
  await waitFor(() => done > atEnd + 3, { describe: "answers of the new one" });
  isEnding = true;
  await load;
  // What the killed one was answering is cut; nobody is refused.
  expect(failures).toBeLessThanOrEqual(1);
}, 60_000);

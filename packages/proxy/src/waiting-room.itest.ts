import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { waitFor } from "@hms/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { deadPort, ProxyFixture, until } from "./proxy-fixture.ts";

let fixture: ProxyFixture;
beforeEach(() => {
  fixture = new ProxyFixture({ replicaPatienceMs: 1_000 });
});
afterEach(() => fixture.close());

/** A replica that comes back at a port, and answers with what it was sent. */
function comesBack(port: number): Promise<void> {
  const server = createServer((request, response) => request.pipe(response)).listen(port, "127.0.0.1");
  fixture.onClose(() => {
    server.close();
    server.closeAllConnections();
  });
  return new Promise((resolve) => server.once("listening", resolve));
}

async function ask(port: number, body: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body });
  return `${response.status} ${await response.text()}`;
}

it("requests to the only replica wait while it is started again, whatever their method", async () => {
  const replica = await deadPort();
  fixture.apply({ endpoints: [{ port: replica }], expectsReplicas: true });
  const port = await fixture.listen();
  const asked = Array.from({ length: 40 }, (_, n) => delay(n * 5).then(() => ask(port, `body ${n}`)));
  await delay(250);
  await comesBack(replica);
  expect(await Promise.all(asked)).toEqual(asked.map((_, n) => `200 body ${n}`));
});

it("requests wait for a replica that the next table brings", async () => {
  const replica = await deadPort();
  fixture.apply({ endpoints: [{ port: replica }], expectsReplicas: true });
  fixture.apply({ endpoints: [], expectsReplicas: true });
  const port = await fixture.listen();
  const asked = ask(port, "hello");
  await delay(100);
  await comesBack(replica);
  fixture.apply({ endpoints: [{ id: "next", port: replica }], expectsReplicas: true });
  expect(await asked).toBe("200 hello");
});

it("a service that stays away refuses once its time is over, and at once from then on until it is back", async () => {
  const replica = await deadPort();
  fixture.apply({ endpoints: [{ port: replica }], expectsReplicas: true });
  const port = await fixture.listen();
  const began = performance.now();
  expect(await ask(port, "")).toMatch(/^503 .*No replica of/);
  const waited = performance.now() - began;
  expect(waited).toBeGreaterThan(900);
  expect(await ask(port, "")).toMatch(/^503 /);
  expect(performance.now() - began - waited).toBeLessThan(900);
  await comesBack(replica);
  await waitFor(async () => (await ask(port, "back")) === "200 back", { describe: "the service to be there again" });
});

it("nothing waits where no replica is expected: the service is stopped, unknown, or has never had one", async () => {
  const replica = await deadPort();
  const port = await fixture.listen();
  const began = performance.now();
  fixture.apply({ endpoints: [], expectsReplicas: true });
  expect(await ask(port, "")).toMatch(/^503 /);
  fixture.apply({ endpoints: [{ port: replica }], expectsReplicas: false });
  expect(await ask(port, "")).toMatch(/^503 /);
  expect(performance.now() - began).toBeLessThan(900);
});

it("a client that leaves is waited for by nobody", async () => {
  fixture.apply({ endpoints: [{ port: await deadPort() }], expectsReplicas: true });
  const port = await fixture.listen();
  const leaving = new AbortController();
  const asked = fetch(`http://127.0.0.1:${port}/`, { signal: leaving.signal }).catch((error: Error) => error.name);
  await delay(100);
  leaving.abort();
  expect(await asked).toBe("AbortError");
  await until(
    () => fixture.engine.metrics().includes('requests_in_flight{environment="default",service="svc"} 0'),
    () => fixture.engine.metrics(),
  );
});

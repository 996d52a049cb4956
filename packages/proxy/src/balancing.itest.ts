import { spawnSync } from "node:child_process";
import { expositionProblems } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ProxyFixture, until } from "./proxy-fixture.ts";

const hasPromtool = spawnSync("promtool", ["--version"]).error === undefined;

let fixture: ProxyFixture;
beforeEach(() => {
  fixture = new ProxyFixture();
});
afterEach(() => fixture.close());

/** Runs requests one after the other in several lanes. */
async function lanes(count: number, perLane: number, port: number): Promise<void> {
  const lane = async () => {
    for (let i = 0; i < perLane; i++) await (await fetch(`http://127.0.0.1:${port}/`)).arrayBuffer();
  };
  await Promise.all(Array.from({ length: count }, lane));
}

describe("balancing", () => {
  it("gives a replica that is ten times slower at most a tenth of the requests", async () => {
    const hits = [0, 0, 0];
    const replica = (position: number, delayMs: number) =>
      fixture.service((_, response) => {
        hits[position] = (hits[position] as number) + 1;
        setTimeout(() => response.end(), delayMs);
      });
    const ports = [await replica(0, 10), await replica(1, 10), await replica(2, 100)];
    fixture.apply({ endpoints: ports.map((port) => ({ port })) });
    await lanes(8, 100, await fixture.listen());
    const [first, second, slow] = hits as [number, number, number];
    expect(slow / 800).toBeLessThanOrEqual(0.1);
    expect(slow).toBeGreaterThan(0);
    expect(Math.min(first, second) / 800).toBeGreaterThan(0.3);
  });

  it("divides by weight", async () => {
    const hits = { old: 0, new: 0 };
    const replica = (name: "old" | "new") =>
      fixture.service((_, response) => {
        hits[name]++;
        response.end();
      });
    fixture.apply({
      endpoints: [
        { port: await replica("old"), weight: 800 },
        { port: await replica("new"), weight: 200 },
      ],
    });
    await lanes(4, 250, await fixture.listen());
    expect(hits.new).toBeGreaterThan(140);
    expect(hits.new).toBeLessThan(260);
  });
});

describe("metrics", () => {
  it("count requests by service, environment, route and class, with their duration", async () => {
    const service = await fixture.service((request, response) => {
      if (request.url === "/users/never") return;
      response.writeHead(request.url === "/users/1" ? 200 : 500).end();
    });
    const routes = [{ path: "/users/{id}", methods: ["GET"] }];
    fixture.apply({ endpoints: [{ port: service }], routes });
    const port = await fixture.listen();
    for (const path of ["/users/1", "/users/1", "/users/2", "/none"]) await fetch(`http://127.0.0.1:${port}${path}`);
    const client = await fixture.rawClient(port);
    client.socket.write("GET /users/never HTTP/1.1\r\nHost: h\r\n\r\n");
    await until(() => fixture.engine.inFlight("a") === 1);
    const labels = 'environment="default",service="svc",route="/users/{id}"';
    expect(fixture.engine.metrics()).toContain('hms_proxy_requests_in_flight{environment="default",service="svc"} 1\n');
    client.socket.destroy();
    await until(() => fixture.engine.inFlight("a") === 0);
    const text = fixture.engine.metrics();
    expect(text).toContain(`hms_proxy_requests_total{${labels},code="2xx"} 2\n`);
    expect(text).toContain(`hms_proxy_requests_total{${labels},code="5xx"} 1\n`);
    expect(text).toContain(`hms_proxy_requests_total{${labels},code="cancelled"} 1\n`);
    expect(text).toContain(`hms_proxy_request_duration_seconds_count{${labels}} 4\n`);
    expect(text).toContain(`hms_proxy_request_duration_seconds_bucket{${labels},le="+Inf"} 4\n`);
    expect(text).toContain('hms_proxy_refused_requests_total{code="404"} 1\n');
  });

  /** A page with all kinds of metrics, and a route that must be escaped. */
  async function oddPage(): Promise<string> {
    const service = await fixture.service((_, response) => response.end());
    fixture.apply({
      endpoints: [{ port: service }],
      routes: [
        { path: '/odd"\\path', methods: [] },
        { path: "/", methods: [] },
      ],
    });
    const port = await fixture.listen();
    await fetch(`http://127.0.0.1:${port}/`);
    const client = await fixture.rawClient(port);
    await client.exchange('GET /odd"\\path HTTP/1.1\r\nHost: h\r\n\r\n', /HTTP\/1.1 200/);
    return fixture.engine.metrics();
  }

  it("are well formed, whatever a route looks like", async () => {
    const page = await oddPage();
    expect(page).toContain('route="/odd\\"\\\\path"');
    expect(expositionProblems(page)).toEqual([]);
  });

  it.skipIf(!hasPromtool)("are what promtool takes, where it is installed", async () => {
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: await oddPage() });
    expect({ status, said: `${stdout}${stderr}` }).toEqual({ status: 0, said: "" });
  });
});

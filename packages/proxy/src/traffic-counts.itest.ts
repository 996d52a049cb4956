import { spawnSync } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { expositionProblems } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { latencyQuantileMs } from "./latency-buckets.ts";
import { deadPort, ProxyFixture, readBody, until } from "./proxy-fixture.ts";
import type { AnswerCounts, RevisionTraffic, ServiceTraffic } from "./service-traffic.ts";

const hasPromtool = spawnSync("promtool", ["--version"]).error === undefined;

let fixture: ProxyFixture;
beforeEach(() => {
  fixture = new ProxyFixture({ replicaPatienceMs: 60_000 });
});
afterEach(() => fixture.close());

function counted(): ServiceTraffic {
  return fixture.engine.traffic().find(({ service }) => service === "svc") as ServiceTraffic;
}

function revision(number: number): RevisionTraffic {
  return counted().revisions.find((each) => each.revision === number) as RevisionTraffic;
}

/** The outcomes that have been counted, without those that have not. */
const outcomes = (number = 1): Partial<AnswerCounts> =>
  Object.fromEntries(Object.entries(revision(number).answers).filter(([, count]) => count > 0));

/** Answers with the status of the path, or does something else that the path says. */
function program() {
  return fixture.service(
    async (incoming, response) => {
      await readBody(incoming);
      const path = incoming.url ?? "";
      if (path === "/never") return;
      if (path === "/cut") incoming.socket.destroy();
      else if (path === "/half") {
        response.writeHead(200, { "content-length": 10 });
        response.write("half", () => response.destroy());
      } else {
        if (path.startsWith("/slow")) await delay(Number(path.slice(5)));
        response.writeHead(/^\/\d/.test(path) ? Number(path.slice(1)) : 200).end();
      }
    },
    (server) => {
      server.on("upgrade", (_, socket) => {
        socket.on("error", () => socket.destroy());
        socket.on("end", () => socket.end()).resume();
        socket.write("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello");
      });
    },
  );
}

async function observed() {
  const service = await program();
  fixture.apply({ endpoints: [{ port: service }], isObserved: true, policy: { requestTimeoutMs: 30_000 } });
  const port = await fixture.listen();
  const ask = async (path: string, method = "GET") => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, redirect: "manual" });
    await response.arrayBuffer().catch(() => {});
    return response.status;
  };
  return { service, port, ask };
}

describe("what is counted of a revision", () => {
  it("is how each attempt ended, by the class of the answer", async () => {
    const { ask } = await observed();
    for (const path of ["/200", "/204", "/302", "/404", "/429", "/500"]) await ask(path);
    expect(outcomes()).toEqual({ successful: 2, redirection: 1, clientError: 2, serverError: 1 });
    // The repeated attempt counts as well.
    expect(await ask("/cut")).toBe(502);
    expect(outcomes()).toMatchObject({ broken: 2, serverError: 1 });
    expect(await ask("/cut", "POST")).toBe(502);
    await ask("/half");
    expect(outcomes()).toEqual({ successful: 2, redirection: 1, clientError: 2, serverError: 1, broken: 4 });
    const heads = revision(1).latencies.reduce((sum, count) => sum + count, 0);
    expect(heads).toBe(7);
    expect(counted().load).toMatchObject({ requests: 9, inFlight: 0, waiting: 0 });
  });

  it("tells those who went away, and tunnels, which run until they are closed", async () => {
    const { port } = await observed();
    const gone = await fixture.rawClient(port);
    gone.socket.write("GET /never HTTP/1.1\r\nHost: h\r\n\r\n");
    await until(() => revision(1).inFlight === 1);
    gone.socket.destroy();
    await until(() => outcomes().cancelled === 1);
    const tunnel = await fixture.rawClient(port);
    await tunnel.exchange("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", /hello$/);
    expect([outcomes(), revision(1).inFlight, counted().load.inFlight]).toEqual([
      { cancelled: 1, informational: 1 },
      1,
      1,
    ]);
    tunnel.socket.destroy();
    await until(() => revision(1).inFlight === 0);
    expect(counted().load.inFlight).toBe(0);
  });

  it("is how soon it answers: quantiles are within 5 % of what passes, and what waits for the client is not its time", async () => {
    const { ask, port } = await observed();
    await Promise.all(Array.from({ length: 20 }, () => ask("/slow150")));
    expect(latencyQuantileMs(revision(1).latencies, 0.01)).toBeGreaterThan(150 * 0.95);
    expect(revision(1).latencySumMs).toBeGreaterThan(20 * 149);
    const before = revision(1).latencySumMs;
    const client = await fixture.rawClient(port);
    client.socket.write("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na");
    await until(() => counted().load.inFlight === 1);
    await delay(300);
    await client.exchange("b", /200 OK/);
    expect(revision(1).latencySumMs - before).toBeLessThan(290);
  });

  it("stays while the revision has endpoints, and begins anew when it comes back", async () => {
    const { service, ask } = await observed();
    await ask("/");
    const begun = revision(1).countedSince;
    const other = await program();
    const both = [{ port: service }, { port: other, revision: 2 }];
    fixture.apply({ endpoints: both, split: { revision: 2, share: 10_000 } });
    await ask("/404");
    expect([outcomes(1), outcomes(2), revision(1).countedSince]).toEqual([
      { successful: 1 },
      { clientError: 1 },
      begun,
    ]);
    fixture.apply({ endpoints: [{ port: other, id: "b", revision: 2 }], isObserved: true });
    expect(counted().revisions.map((each) => each.revision)).toEqual([2]);
    fixture.apply({ endpoints: both, isObserved: true });
    expect(outcomes(1)).toEqual({});
    expect(revision(1).countedSince).toBeGreaterThan(begun);
    fixture.apply({ endpoints: both });
    expect(counted().revisions).toEqual([]);
  });

  it("counts connections that cannot be had, and none that was given up before anything was sent", async () => {
    const dead = await deadPort();
    fixture.apply({ endpoints: [{ port: dead }, { port: await program(), revision: 2 }], isObserved: true });
    const port = await fixture.listen();
    for (let i = 0; i < 20; i++) expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
    expect(outcomes(1).broken).toBeGreaterThanOrEqual(1);
    expect(outcomes(2)).toEqual({ successful: 20 });
  });
});

describe("the load of a service", () => {
  it("is the time that requests ran, those that wait for a replica and those that still run included", async () => {
    const { ask } = await observed();
    const started = performance.now();
    const running = Promise.all(Array.from({ length: 4 }, () => ask("/slow400")));
    await until(() => counted().load.inFlight === 4);
    const early = counted().load.busyMs;
    await running;
    const { busyMs } = counted().load;
    expect(busyMs).toBeGreaterThan(early);
    expect(busyMs).toBeGreaterThan(4 * 395);
    expect(busyMs).toBeLessThanOrEqual(4 * (performance.now() - started));
    expect(counted().load.busyMs).toBe(busyMs);

    fixture.apply({ endpoints: [], expectsReplicas: true, isObserved: true });
    const waiting = ask("/");
    await until(() => counted().load.waiting === 1);
    expect(counted().load.inFlight).toBe(1);
    fixture.apply({ endpoints: [{ port: await program() }], expectsReplicas: true, isObserved: true });
    expect(await waiting).toBe(200);
    expect(counted().load).toMatchObject({ requests: 5, inFlight: 0, waiting: 0 });
    expect(counted().load.busyMs).toBeGreaterThan(busyMs);
  });
});

describe("metrics of revisions", () => {
  async function page(): Promise<string> {
    const { ask } = await observed();
    for (const path of ["/200", "/500", "/cut", "/slow20"]) await ask(path);
    const split = { revision: 2, share: 100 };
    const endpoints = [{ port: await program() }, { port: await program(), revision: 2 }];
    fixture.apply({ name: "other", endpoints, split });
    return fixture.engine.metrics();
  }

  it("are well formed, and name only revisions of the snapshot", async () => {
    const { service, ask } = await observed();
    await ask("/200");
    const labels = 'environment="default",service="svc",revision="1"';
    const before = fixture.engine.metrics();
    expect(before).toContain(`hms_proxy_revision_answers_total{${labels},code="2xx"} 1\n`);
    expect(before).toContain(`hms_proxy_revision_response_seconds_count{${labels}} 1\n`);
    expect(before).toContain(`hms_proxy_revision_in_flight{${labels}} 0\n`);
    fixture.apply({ endpoints: [{ port: service, id: "n", revision: 7 }] });
    await ask("/200");
    expect(fixture.engine.metrics()).not.toContain('revision="1"');
    expect(fixture.engine.metrics()).toContain('revision="7"');
    expect(expositionProblems(fixture.engine.metrics())).toEqual([]);
  });

  it("have nothing that breaks their format", async () => {
    expect(expositionProblems(await page())).toEqual([]);
  });

  it.skipIf(!hasPromtool)("are what promtool takes, where it is installed", async () => {
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: await page() });
    expect({ status, said: `${stdout}${stderr}` }).toEqual({ status: 0, said: "" });
  });
});

describe("what is sampled of requests", () => {
  it("is their outcome and route, by which way they came, and nothing of what they asked for", async () => {
    const service = await program();
    fixture.apply({ endpoints: [{ port: service, revision: 4 }], routes: [{ path: "/{name}", methods: [] }] });
    const [gateway, mesh] = [
      await fixture.listen(),
      await fixture.listen(fixture.engine.serviceHandler("default", "svc")),
    ];
    const trace = "0af7651916cd43dd8448eb211c80319c";
    const headers = { traceparent: `00-${trace}-b7ad6b7169203331-01` };
    await (await fetch(`http://127.0.0.1:${gateway}/slow50`, { headers })).text();
    await (await fetch(`http://127.0.0.1:${mesh}/500`, { method: "DELETE" })).text();
    await (await fetch(`http://127.0.0.1:${mesh}/cut`, { method: "POST" })).text();
    await (await fetch(`http://127.0.0.1:${gateway}/x?secret=1`)).text();
    const { requests } = fixture.engine.takeSensors();
    const place = { environment: "default", service: "svc", revision: 4, endpointId: "a" };
    expect(requests).toMatchObject({
      total: 4,
      values: [
        { ...place, method: "GET", route: "/{name}", status: 200, traceId: trace },
        { ...place, method: "DELETE", route: "", status: 500, traceId: expect.stringMatching(/^[0-9a-f]{32}$/) },
        { ...place, method: "POST", route: "", status: 502 },
        { ...place, method: "GET", route: "/{name}", status: 200 },
      ],
    });
    expect(requests.values[0]?.headMs).toBeGreaterThan(45);
    expect(JSON.stringify(requests)).not.toMatch(/secret|slow/);
    await Promise.all(Array.from({ length: 200 }, () => fetch(`http://127.0.0.1:${gateway}/x`).then((r) => r.text())));
    const many = fixture.engine.takeSensors().requests;
    expect([many.total, many.values.length]).toEqual([200, 10]);
  });
});

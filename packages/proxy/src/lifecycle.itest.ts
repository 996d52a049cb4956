import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Server } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deadPort, ProxyFixture, until } from "./proxy-fixture.ts";

let fixture: ProxyFixture;
beforeEach(() => {
  fixture = new ProxyFixture({ idleBodyTimeoutMs: 400, clientIdleTimeoutMs: 500 });
});
afterEach(() => fixture.close());

/** A service whose answers wait until they are let go. */
async function heldService() {
  const held: (() => void)[] = [];
  const port = await fixture.service((_, response) => held.push(() => response.end("done")));
  return { port, held };
}

describe("replacing the table", () => {
  it("lets a draining endpoint finish what it has and gives it nothing new", async () => {
    const [old, next] = [await heldService(), await fixture.service((_, response) => response.end("new"))];
    fixture.apply({ endpoints: [{ id: "old", port: old.port }] });
    const port = await fixture.listen();
    const running = fetch(`http://127.0.0.1:${port}/`);
    await until(() => old.held.length === 1);
    const drained: string[] = [];
    const unsubscribe = fixture.engine.onDrained((id) => drained.push(id));
    fixture.apply({
      endpoints: [
        { id: "old", port: old.port, state: "draining" },
        { id: "next", port: next },
      ],
    });
    for (let i = 0; i < 10; i++) expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("new");
    expect(fixture.engine.drainingInFlight()).toEqual(new Map([["old", 1]]));
    expect(drained).toEqual([]);
    old.held[0]?.();
    expect(await (await running).text()).toBe("done");
    expect(drained).toEqual(["old"]);
    expect(fixture.engine.drainingInFlight()).toEqual(new Map());
    unsubscribe();
  });

  it("lets an endpoint that has left finish, reports it until then, and forgets it", async () => {
    const old = await heldService();
    fixture.apply({ endpoints: [{ id: "old", port: old.port }] });
    const port = await fixture.listen();
    const running = fetch(`http://127.0.0.1:${port}/`);
    await until(() => old.held.length === 1);
    fixture.apply({ endpoints: [] });
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(503);
    expect(fixture.engine.drainingInFlight()).toEqual(new Map([["old", 1]]));
    old.held[0]?.();
    expect(await (await running).text()).toBe("done");
    expect(fixture.engine.inFlight("old")).toBe(0);
    expect(fixture.engine.drainingInFlight()).toEqual(new Map());
  });

  it("keeps connections and what runs of endpoints that stay", async () => {
    let connections = 0;
    const service = await fixture.service(
      (_, response) => response.end(),
      (server) => server.on("connection", () => connections++),
    );
    const port = await fixture.listen();
    for (let i = 0; i < 10; i++) {
      fixture.apply({ endpoints: [{ port: service, revision: i }] });
      expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
    }
    expect(connections).toBe(1);
  });

  it("takes an endpoint back that had begun to drain, also at another port", async () => {
    const [first, second] = [
      await fixture.service((_, response) => response.end("first")),
      await fixture.service((_, response) => response.end("second")),
    ];
    fixture.apply({ endpoints: [{ port: first }] });
    const port = await fixture.listen();
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("first");
    fixture.apply({ endpoints: [{ port: first, state: "draining" }] });
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(503);
    fixture.apply({ endpoints: [{ port: second }] });
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("second");
  });

  it("refuses a table that contradicts itself and stays with the one before", async () => {
    const service = await fixture.service((_, response) => response.end("ok"));
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    expect(() => fixture.apply({ endpoints: [{ port: 1 }, { id: "a", port: 2 }] })).toThrow(
      /endpoint a is listed twice/,
    );
    expect(() => fixture.apply({ endpoints: [] }, { endpoints: [] })).toThrow(/default\/svc is listed twice/);
    expect(() => fixture.apply({ endpoints: [{ port: 0 }] })).toThrow(/port 0/);
    expect(() => fixture.apply({ endpoints: [], routes: [{ path: "x", methods: [] }] })).toThrow(/cannot be used/);
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("ok");
  });

  it("serves a mesh service from the moment the table knows it", async () => {
    const port = await fixture.listen(fixture.engine.serviceHandler("default", "later"));
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(503);
    const service = await fixture.service((_, response) => response.end("here"));
    fixture.apply({ name: "later", endpoints: [{ port: service }], routes: [] });
    expect(await (await fetch(`http://127.0.0.1:${port}/any`)).text()).toBe("here");
  });
});

describe("replacing replicas under load", () => {
  it("loses no request, not even a POST, over ten generations", async () => {
    // On a busy machine half a second passes between two requests: connections have to be kept for longer here.
    await fixture.close();
    fixture = new ProxyFixture();
    const replica = async (generation: number) => {
      let server: Server | undefined;
      const port = await fixture.service(
        (request, response) => request.resume().on("end", () => setTimeout(() => response.end(`${generation}`), 1)),
        (created) => {
          server = created;
        },
      );
      return { id: `g${generation}`, port, stop: () => (server as Server).close() };
    };
    let current = await replica(0);
    fixture.apply({ endpoints: [current] });
    const port = await fixture.listen();
    const statuses = new Map<number, number>();
    let isRunning = true;
    const lane = async (method: string) => {
      while (isRunning) {
        const response = await fetch(`http://127.0.0.1:${port}/`, { method, body: method === "POST" ? "x" : null });
        await response.arrayBuffer();
        statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      }
    };
    const load = Promise.all(["GET", "POST", "GET", "POST", "POST", "POST"].map(lane));
    for (let generation = 1; generation <= 10; generation++) {
      const next = await replica(generation);
      fixture.apply({ endpoints: [{ ...current, state: "draining" }, next] });
      const before = statuses.get(200) ?? 0;
      await until(() => fixture.engine.drainingInFlight().size === 0 && (statuses.get(200) ?? 0) > before + 20);
      current.stop();
      fixture.apply({ endpoints: [next] });
      current = next;
    }
    isRunning = false;
    await load;
    expect([...statuses.keys()]).toEqual([200]);
  });
});

describe("closing", () => {
  it("finishes what runs, with the connection's end announced, and takes nothing new", async () => {
    const service = await heldService();
    fixture.apply({ endpoints: [{ port: service.port }] });
    const port = await fixture.listen();
    const idle = await fixture.rawClient(port);
    const client = await fixture.rawClient(port);
    client.socket.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    await until(() => service.held.length === 1);
    const closing = fixture.engine.close();
    await idle.closed();
    await expect(once(connect(port, "127.0.0.1"), "connect")).rejects.toThrow(/ECONNREFUSED/);
    service.held[0]?.();
    expect(await client.closed()).toMatch(/^HTTP\/1.1 200 [\s\S]*connection: close\r\n\r\ndone$/);
    await closing;
  });

  it("cuts what is not done after the grace", async () => {
    const service = await heldService();
    fixture.apply({ endpoints: [{ port: service.port }] });
    const client = await fixture.rawClient(await fixture.listen());
    client.socket.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    await until(() => service.held.length === 1);
    await fixture.engine.close({ graceMs: 100 });
    expect(await client.closed()).toBe("");
  });
});

describe("time limits", () => {
  it("answer 504 when the service does not, and do not send the request twice", async () => {
    const service = await heldService();
    fixture.apply({ endpoints: [{ port: service.port }], policy: { requestTimeoutMs: 200 } });
    const port = await fixture.listen();
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({ error: { code: "DEADLINE_EXCEEDED" } });
    expect(service.held).toHaveLength(1);
  });

  it("move on from a replica that does not accept in time", async () => {
    const stuck = await unacceptingPort();
    const alive = await fixture.service((_, response) => response.end("ok"));
    fixture.apply({ endpoints: [{ port: stuck }, { port: alive }], policy: { connectTimeoutMs: 150 } });
    const port = await fixture.listen();
    for (let i = 0; i < 6; i++) expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("ok");
    expect(fixture.engine.metrics()).toMatch(/ejections_total\{.*"svc"\} [1-9]/);
  });

  it("answer 408 when the client's body stops, and cut an answer that stops", async () => {
    const service = await fixture.service((request, response) => {
      request.resume();
      if (request.method === "GET") response.write("half");
    });
    fixture.apply({ endpoints: [{ port: service }] });
    const port = await fixture.listen();
    const upload = await fixture.rawClient(port);
    await upload.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf", /^HTTP\/1.1 408 /);
    const silent = await fixture.rawClient(port);
    await silent.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n", /^HTTP\/1.1 408 /);
    const download = await fixture.rawClient(port);
    download.socket.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(await download.closed()).toMatch(/half/);
    expect(fixture.engine.inFlight("a")).toBe(0);
    expect(fixture.engine.metrics()).toMatch(/ejections_total\{.*"svc"\} 0/);
  });

  it("close connections of clients that stay silent", async () => {
    const port = await fixture.listen();
    const client = await fixture.rawClient(port);
    await client.closed();
    expect(client.received).toBe("");
  });

  it("answer 413 for a body beyond the limit, announced or not", async () => {
    const limited = new ProxyFixture({ maxRequestBodyBytes: 1000 });
    try {
      const service = await limited.service((request, response) =>
        request.resume().on("end", () => response.end("ok")),
      );
      limited.apply({ endpoints: [{ port: service }] });
      const port = await limited.listen();
      const head = "POST / HTTP/1.1\r\nHost: h\r\n";
      const announced = await limited.rawClient(port);
      await announced.exchange(`${head}Content-Length: 1001\r\n\r\n`, /^HTTP\/1.1 413 /);
      const chunked = await limited.rawClient(port);
      const chunk = `400\r\n${"x".repeat(1024)}\r\n`;
      await chunked.exchange(`${head}Transfer-Encoding: chunked\r\n\r\n${chunk}`, /^HTTP\/1.1 413 /);
      const fine = await limited.rawClient(port);
      await fine.exchange(`${head}Content-Length: 1000\r\n\r\n${"x".repeat(1000)}`, /^HTTP\/1.1 200 /);
    } finally {
      await limited.close();
    }
  });
});

/** A port whose listener has a full queue: the kernel answers no further connection. */
async function unacceptingPort(): Promise<number> {
  const port = await deadPort();
  const script = `require("net").createServer().listen({port:${port},host:"127.0.0.1",backlog:1},()=>{console.log("up");})`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  child.kill("SIGSTOP");
  const fillers = Array.from({ length: 4 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  fixture.onClose(() => {
    for (const filler of fillers) filler.destroy();
    child.kill("SIGKILL");
  });
  await until(() => fillers.filter((filler) => !filler.connecting).length >= 2);
  return port;
}

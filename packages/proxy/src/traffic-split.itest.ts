import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deadPort, ProxyFixture, readBody } from "./proxy-fixture.ts";

let fixture: ProxyFixture;
beforeEach(() => {
  fixture = new ProxyFixture();
});
afterEach(() => fixture.close());

const CONNECTION_UPGRADE = "Connection: Upgrade\r\nUpgrade: echo\r\n";
const preview = { in: "header", name: "x-hms-revision", value: "2" } as const;

/** A program that says its name, also to who upgrades. */
function program(name: string, hits: string[] = []): Promise<number> {
  return fixture.service(
    async (incoming, response) => {
      await readBody(incoming);
      hits.push(name);
      if (incoming.url === "/cut") incoming.socket.destroy();
      else if (incoming.url === "/unwell") response.writeHead(name === "new" ? 503 : 200).end(name);
      else response.end(name);
    },
    (server) => {
      server.on("upgrade", (_, socket) => {
        socket.on("error", () => socket.destroy());
        socket.end(`HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nthis is ${name} `);
      });
    },
  );
}

async function ask(port: number, headers: Record<string, string> = {}, path = "/"): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers });
  return `${response.status} ${await response.text()}`;
}

async function twoRevisions(split: object = {}, hits: string[] = []) {
  const ports = [await program("old", hits), await program("new", hits)];
  const endpoints = ports.map((port, index) => ({ port, revision: index + 1 }));
  const apply = (own: object) => fixture.apply({ endpoints, split: { revision: 2, ...own } });
  apply(split);
  return { endpoints, apply };
}

describe("a split", () => {
  it("is kept at the gateway, at a mesh address and by the proxy address, whatever else the share says", async () => {
    await twoRevisions({ matches: [preview] });
    const gateway = await fixture.listen();
    const mesh = await fixture.listen(fixture.engine.serviceHandler("default", "svc"));
    for (const port of [gateway, mesh]) {
      expect(await ask(port)).toBe("200 old");
      expect(await ask(port, { "x-hms-revision": "2" })).toBe("200 new");
      expect(await ask(port, { "x-hms-revision": "1" })).toBe("200 old");
    }
    const client = await fixture.rawClient(await fixture.listen(fixture.engine.forwardProxyHandler));
    const tunnel = "CONNECT svc.mesh:80 HTTP/1.1\r\nHost: svc.mesh\r\nX-HMS-Revision: 2\r\n\r\n";
    await client.exchange(tunnel, /^HTTP\/1.1 200 [^\r]*\r\n(?:[^\r]+\r\n)*\r\n$/);
    expect(await client.exchange("GET / HTTP/1.1\r\nHost: svc.mesh\r\n\r\n", /\r\n\r\nnew$/)).toMatch(/200 OK/);
  });

  it("is decided for each request, not for the connection that brings it", async () => {
    await twoRevisions({ matches: [preview] });
    const client = await fixture.rawClient(await fixture.listen());
    const lines = "GET / HTTP/1.1\r\nHost: h\r\n";
    await client.exchange(`${lines}\r\n${lines}X-HMS-Revision: 2\r\n\r\n${lines}\r\n`, /old[\s\S]*new[\s\S]*old$/);
  });

  it("holds for HTTP/2, cookies in several fields included", async () => {
    await twoRevisions({ share: 0, matches: [{ in: "cookie", name: "beta", value: "on" }] });
    const client = connectHttp2(`http://127.0.0.1:${await fixture.listen()}`);
    fixture.onClose(() => client.destroy());
    const read = async (cookie: string[]) => {
      const stream = client.request({ ":path": "/", cookie: cookie as never });
      return (await readBody(stream as unknown as IncomingMessage)).toString();
    };
    expect(await read(["a=1", "beta=on"])).toBe("new");
    expect(await read(["a=1", "beta=off"])).toBe("old");
  });

  it("holds for connections that become tunnels", async () => {
    await twoRevisions({ matches: [preview] });
    const port = await fixture.listen();
    for (const [field, name] of [
      ["", "old"],
      ["X-HMS-Revision: 2\r\n", "new"],
    ]) {
      const client = await fixture.rawClient(port);
      client.socket.write(`GET / HTTP/1.1\r\nHost: h\r\n${CONNECTION_UPGRADE}${field}\r\n`);
      expect(await client.closed()).toMatch(new RegExp(`this is ${name} $`));
    }
  });

  it("keeps a client where it is while the share grows, and takes it back with the split", async () => {
    const { endpoints, apply } = await twoRevisions();
    const port = await fixture.listen();
    const sticky = { by: "cookie", name: "sid" } as const;
    const ids = Array.from({ length: 60 }, (_, index) => `client-${index}`);
    const tried = async () => {
      const answers = await Promise.all(ids.map((id) => ask(port, { cookie: `sid=${id}` })));
      return new Set(ids.filter((_, index) => answers[index] === "200 new"));
    };
    let before = new Set<string>();
    for (const share of [0, 1_000, 4_000, 9_000, 10_000]) {
      apply({ share, sticky });
      const now = await tried();
      expect(await tried()).toEqual(now);
      expect([...before].filter((id) => !now.has(id))).toEqual([]);
      before = now;
    }
    expect(before.size).toBe(ids.length);
    fixture.apply({ endpoints: endpoints.slice(0, 1) });
    expect((await tried()).size).toBe(0);
  });

  it("keeps what is cached of one revision from the clients of the other", async () => {
    let answers = 0;
    const counting = (name: string) =>
      fixture.service((_, response) => {
        response.setHeader("cache-control", "max-age=60");
        response.end(`${name} ${++answers}`);
      });
    const ports = [await counting("old"), await counting("new")];
    const routes = [{ path: "/*", methods: [], rules: { cacheMs: 60_000 } }];
    const endpoints = ports.map((port, index) => ({ port, revision: index + 1 }));
    fixture.apply({ endpoints, routes, split: { revision: 2, matches: [{ in: "cookie", name: "beta", value: "" }] } });
    const port = await fixture.listen();
    const beta = { cookie: "beta=1" };
    const said = [await ask(port), await ask(port), await ask(port, beta), await ask(port, beta), await ask(port)];
    expect(said).toEqual(["200 old 1", "200 old 1", "200 new 2", expect.stringMatching(/^200 new /), "200 old 1"]);
  });
});

function figure(pattern: string): number {
  return Number(new RegExp(`^${pattern} (\\d+)$`, "m").exec(fixture.engine.metrics())?.[1] ?? Number.NaN);
}

describe("a side of a split", () => {
  it("that cannot be reached, drains or is not there costs no request, not even a POST, and is counted", async () => {
    const old = { port: await program("old"), revision: 1 };
    const gone = { port: await deadPort(), revision: 2 };
    const draining = { ...old, id: "d", revision: 2, state: "draining" } as const;
    const port = await fixture.listen();
    for (const endpoints of [[old, gone], [old, draining], [old]]) {
      fixture.apply({ endpoints, split: { revision: 2, share: 10_000 } });
      for (let i = 0; i < 10; i++) {
        const response = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "x" });
        expect(`${response.status} ${await response.text()}`).toBe("200 old");
      }
    }
    fixture.apply({
      endpoints: [
        { ...gone, revision: 1 },
        { ...old, revision: 2 },
      ],
      split: { revision: 2, share: 0 },
    });
    for (let i = 0; i < 10; i++) expect(await ask(port)).toBe("200 old");
    const labels = 'environment="default",service="svc"';
    expect(figure(`hms_proxy_split_crossings_total\\{${labels},meant="tried"\\}`)).toBe(30);
    expect(figure(`hms_proxy_split_crossings_total\\{${labels},meant="baseline"\\}`)).toBe(10);
  });

  it("that breaks off gets the repeated request, too: a client does not see two revisions in one request", async () => {
    const hits: string[] = [];
    await twoRevisions({ share: 10_000 }, hits);
    expect(await ask(await fixture.listen(), {}, "/cut")).toMatch(/^502 /);
    expect(hits).toEqual(["new", "new"]);
  });

  it("that is left alone because it answers badly leaves its requests to the other", async () => {
    const { endpoints } = await twoRevisions();
    const policy = { breaker: { failures: 3, openMs: 60_000 } };
    fixture.apply({ endpoints, policy, split: { revision: 2, share: 10_000 } });
    const port = await fixture.listen();
    const answers = [];
    for (let i = 0; i < 6; i++) answers.push(await ask(port, {}, "/unwell"));
    expect(answers).toEqual(["503 new", "503 new", "503 new", "200 old", "200 old", "200 old"]);
  });
});

describe("a change of a split", () => {
  const RATE = 2_000;
  const LOAD_MS = 3_000;
  /** A machine that is busy otherwise gets no more at once, and fewer in all. */
  const MOST_AT_ONCE = 200;

  it(`fails no request: every 50 ms another share, at ${RATE} requests a second if the machine can`, {
    timeout: 30_000,
  }, async () => {
    const { endpoints, apply } = await twoRevisions();
    const port = await fixture.listen();
    const agent = new Agent({ keepAlive: true, maxSockets: 64 });
    fixture.onClose(() => agent.destroy());
    const outcomes: Record<string, number> = {};
    const note = (outcome: string) => {
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    };
    const running = new Set<Promise<void>>();
    const send = async (index: number) => {
      const method = index % 3 === 0 ? "POST" : "GET";
      const outgoing = request({ port, host: "127.0.0.1", agent, method, headers: { cookie: `sid=${index % 500}` } });
      outgoing.end(method === "POST" ? "body" : undefined);
      try {
        const [response] = (await once(outgoing, "response")) as [IncomingMessage];
        note(`${response.statusCode} ${await readBody(response)}`);
      } catch (error) {
        note(String(error));
      }
    };
    const started = performance.now();
    const changing = (async () => {
      const [old, tried] = endpoints as [(typeof endpoints)[0], (typeof endpoints)[0]];
      for (let round = 0; performance.now() - started < LOAD_MS; round++) {
        const sticky = round % 2 === 0 ? null : ({ by: "cookie", name: "sid" } as const);
        for (const share of [0, 100, 5_000, 10_000, 0]) {
          apply({ share, sticky });
          await delay(50);
        }
        fixture.apply({
          endpoints: [old, { ...tried, id: "b", state: "draining" }],
          split: { revision: 2, share: 5_000 },
        });
        await delay(50);
        fixture.apply({ endpoints });
        await delay(50);
      }
    })();
    let sent = 0;
    while (performance.now() - started < LOAD_MS) {
      const due = Math.floor(((performance.now() - started) / 1000) * RATE);
      for (; sent < due && running.size < MOST_AT_ONCE; sent++) {
        const one: Promise<void> = send(sent).finally(() => running.delete(one));
        running.add(one);
      }
      await delay(2);
    }
    await Promise.all([changing, ...running]);
    expect(Object.keys(outcomes).sort()).toEqual(["200 new", "200 old"]);
    expect((outcomes["200 new"] ?? 0) + (outcomes["200 old"] ?? 0)).toBe(sent);
    expect(sent).toBeGreaterThan(100);
    expect(outcomes["200 new"]).toBeGreaterThan(sent / 10);
  });
});

import type { IncomingMessage, ServerResponse } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CallerAnswer, knownCaller } from "./caller.ts";
import { ProxyFixture, readBody, until } from "./proxy-fixture.ts";
import type { BodyChanges, RouteRules } from "./route-rules.ts";
import type { TrafficPolicy } from "./routing-table.ts";

interface Seen {
  url: string;
  headers: IncomingMessage["headers"];
  raw: string[];
  body: string;
}

let fixture: ProxyFixture;
let seen: Seen[];
let port = 0;
let answer: (response: ServerResponse, request: Seen) => void;
let serve: (rules: RouteRules, path?: string, policy?: Partial<TrafficPolicy>) => void;

beforeEach(async () => {
  seen = [];
  answer = (response) => response.end("ok");
  const caller = {
    name: "user:anna",
    roles: [],
    hasMfa: false,
    authenticatedAtMs: 0,
    environment: "",
    isPermitted: true,
    isWithinScopes: true,
  };
  const find = ({ token }: { token: string }): CallerAnswer =>
    token === "good" ? knownCaller(caller, "d1") : { kind: "unknown" };
  fixture = new ProxyFixture({ callers: { find }, idleBodyTimeoutMs: 300 });
  const service = await fixture.service(async (request, response) => {
    const body = (await readBody(request)).toString();
    const one = { url: request.url ?? "", headers: request.headers, raw: request.rawHeaders, body };
    seen.push(one);
    answer(response, one);
  });
  serve = (rules, path = "/*", policy = {}) =>
    fixture.apply({ endpoints: [{ port: service }], routes: [{ path, methods: [], rules }], policy });
  port = await fixture.listen();
});
afterEach(() => fixture.close());

const get = (path = "/", headers: Record<string, string> = {}, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${port}${path}`, { headers, ...init });
const json = { "content-type": "application/json" };
const post = (body: string, headers: Record<string, string> = json) => get("/", headers, { method: "POST", body });
const messageOf = async (reply: Response) => ((await reply.json()) as { error: { message: string } }).error.message;
const none: BodyChanges = { rename: {}, remove: [], add: {}, wrap: "", maxBytes: 1000 };
const required = { isOptional: false, roles: [], permission: "", needsMfa: false, mfaMaxAgeMs: 0 };

describe("a route of a version", () => {
  it("shows the program the path without its beginning, and says what that was, whatever the client says of it", async () => {
    serve({ rewrite: { strip: "/api/v1", add: "/v1" } }, "/api/v1/*");
    await get("/api/v1/orders/1?full=1", { "x-forwarded-prefix": "/evil" });
    expect(seen[0]).toMatchObject({ url: "/v1/orders/1?full=1", headers: { "x-forwarded-prefix": "/api/v1" } });
  });

  it("tells callers of its end, beside what the program says", async () => {
    answer = (response) => response.setHeader("link", "<https://a.example>; rel=help").end("ok");
    serve({ deprecation: { at: 1793491200, sunsetAt: 1811808000, link: "https://example.org/v2" } });
    const { headers } = await get();
    expect(headers.get("deprecation")).toBe("@1793491200");
    expect(headers.get("sunset")).toBe("Tue, 01 Jun 2027 00:00:00 GMT");
    expect(headers.get("link")).toBe(
      '<https://a.example>; rel=help, <https://example.org/v2>; rel="deprecation"; type="text/html"',
    );
    answer = (response) => response.setHeader("deprecation", "@1").end("ok");
    expect((await get()).headers.get("deprecation")).toBe("@1");
  });

  it("has its own time", async () => {
    answer = () => {};
    serve({ requestTimeoutMs: 50 });
    expect((await get()).status).toBe(504);
  });

  it("is not served if it asks for what is not known here", async () => {
    serve({ unknown: ["client-certificates"], auth: { ...required, isOptional: true } });
    const refused = await get("/", { authorization: "Bearer good" });
    expect(refused.status).toBe(503);
    expect(await messageOf(refused)).toContain("(client-certificates)");
    expect(seen).toEqual([]);
  });
});

describe("fields", () => {
  it("are set, added and filled in where there are none, with who calls", async () => {
    answer = (response) => response.setHeader("vary", "accept").setHeader("cache-control", "max-age=5").end("ok");
    serve({
      auth: { ...required, isOptional: true },
      requestFields: {
        set: {
          "x-user": `<\${caller.name}>`,
          "x-who": `\${caller.name}`,
          "x-from": `\${client.address} \${request.id}`,
        },
        remove: [],
        add: { "x-tag": "gateway" },
        absent: { "x-lang": "en" },
      },
      responseFields: {
        set: { "x-id": `\${request.id}` },
        remove: [],
        add: { vary: "accept-language" },
        absent: { "content-security-policy": "default-src 'self'", "cache-control": "no-store" },
      },
    });
    const first = await get("/", { authorization: "Bearer good", "x-user": "root", "x-tag": "client", "x-lang": "de" });
    const id = first.headers.get("x-request-id");
    expect(seen[0]?.headers).toMatchObject({
      "x-user": "<user:anna>",
      "x-who": "user:anna",
      "x-from": `127.0.0.1 ${id}`,
      "x-tag": "client, gateway",
      "x-lang": "de",
    });
    expect(Object.fromEntries(first.headers)).toMatchObject({
      vary: "accept, accept-language",
      "x-id": id,
      "cache-control": "max-age=5",
      "content-security-policy": "default-src 'self'",
    });
    await get("/", { "x-who": "root" });
    expect(seen[1]?.headers).toMatchObject({ "x-user": "<>", "x-lang": "en" });
    expect(seen[1]?.headers["x-who"]).toBeUndefined();
  });

  it("of an answer that is kept are made anew for each request", async () => {
    serve({ cacheMs: 60_000, responseFields: { set: { "x-id": `\${request.id}` }, remove: [] } });
    const ids = [await get(), await get()].map(({ headers }) => [headers.get("x-id"), headers.get("x-request-id")]);
    expect(seen).toHaveLength(1);
    expect(ids[0]?.[0]).toBe(ids[0]?.[1]);
    expect(ids[1]?.[0]).toBe(ids[1]?.[1]);
    expect(ids[0]?.[0]).not.toBe(ids[1]?.[0]);
  });
});

describe("bodies of requests", () => {
  beforeEach(() => serve({ requestBody: { ...none, remove: ["admin"], add: { source: '"web"' } } }));

  it("are changed, with the length they have then, also when they come in parts or wait to be asked for", async () => {
    await post('{"a":1,"admin":true}');
    expect(seen[0]).toMatchObject({ body: '{"a":1,"source":"web"}', headers: { "content-length": "22" } });
    const client = await fixture.rawClient(port);
    const head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
    client.socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n`);
    await client.exchange("2\r\n2}\r\n0\r\n\r\n", /^HTTP\/1.1 200 /);
    expect(seen[1]).toMatchObject({ body: '{"a":2,"source":"web"}' });
    expect(seen[1]?.headers["transfer-encoding"]).toBeUndefined();
    await client.exchange(`${head}Expect: 100-continue\r\nContent-Length: 7\r\n\r\n`, /HTTP\/1.1 100 Continue\r\n\r\n/);
    await client.exchange('{"a":3}', /200 [\s\S]*100 [\s\S]*200 /);
    expect(seen[2]?.headers.expect).toBeUndefined();
    // Without a body there is nothing to change.
    await get();
    expect(seen.map(({ body }) => body)).toEqual([
      '{"a":1,"source":"web"}',
      '{"a":2,"source":"web"}',
      '{"a":3,"source":"web"}',
      "",
    ]);
  });

  it.each<[string, Record<string, string>, number, RegExp]>([
    ["{", json, 400, /is not JSON/],
    ["a=1", { "content-type": "application/x-www-form-urlencoded" }, 415, /JSON only/],
    ["{}", { "content-type": "text/plain" }, 415, /JSON only/],
    ["{}", { ...json, "content-encoding": "gzip" }, 415, /not compressed/],
    [`"${"x".repeat(1000)}"`, json, 413, /larger than 1000 bytes/],
  ])("that cannot be changed are refused: %s %j", async (body, headers, status, message) => {
    const refused = await post(body, headers);
    expect(refused.status).toBe(status);
    expect(await messageOf(refused)).toMatch(message);
    expect(seen).toEqual([]);
    expect((await post("{}")).status).toBe(200);
  });

  it("that stop arriving, or grow too large, hold nothing", async () => {
    const slow = await fixture.rawClient(port);
    const head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
    await slow.exchange(`${head}Content-Length: 50\r\n\r\n{`, /^HTTP\/1.1 408 /);
    const large = await fixture.rawClient(port);
    await large.exchange(`${head}Transfer-Encoding: chunked\r\n\r\n7d0\r\n${"1".repeat(2000)}\r\n`, /^HTTP\/1.1 413 /);
    const gone = await fixture.rawClient(port);
    gone.socket.write(`${head}Content-Length: 50\r\n\r\n{`);
    gone.socket.destroy();
    await until(() => /hms_proxy_client_connections [012]\n/.test(fixture.engine.metrics()));
    expect(seen).toEqual([]);
  });

  it("by HTTP/2 are changed too", async () => {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const stream = session.request({ ":method": "POST", ":path": "/", ...json });
    stream.end('{"admin":1}');
    expect(await text(stream)).toBe("ok");
    session.destroy();
    expect(seen[0]?.body).toBe('{"source":"web"}');
  });
});

describe("bodies of answers", () => {
  const send = (body: string | Buffer, fields: Record<string, string> = json, status = 200) => {
    answer = (response) => response.writeHead(status, fields).end(body);
  };
  beforeEach(() => serve({ responseBody: { ...none, remove: ["password"], wrap: "data" } }));

  it("are changed whatever their status, with their length, and what names the old one is left out", async () => {
    send('{"id":1,"password":"x"}', { ...json, etag: '"e"', "content-md5": "x", "accept-ranges": "bytes" }, 422);
    const reply = await get("/", { range: "bytes=0-3", "accept-encoding": "gzip" });
    expect([reply.status, await reply.text()]).toEqual([422, '{"data":{"id":1}}']);
    expect(Object.fromEntries(reply.headers)).toMatchObject({ "content-length": "17", etag: 'W/"e"' });
    expect([reply.headers.get("content-md5"), reply.headers.get("accept-ranges")]).toEqual([null, null]);
    expect(seen[0]?.headers.range).toBeUndefined();
    expect(seen[0]?.headers["accept-encoding"]).toBeUndefined();
    answer = (response) => {
      response.writeHead(200, json).write('{"password":1,');
      response.end('"id":2}');
    };
    expect(await (await get()).text()).toBe('{"data":{"id":2}}');
    const head = await get("/", {}, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, null]);
  });

  it("that are no JSON, or streams, pass as they come", async () => {
    send("<p>password</p>", { "content-type": "text/html" });
    expect(await (await get()).text()).toBe("<p>password</p>");
    const events: (() => void)[] = [];
    answer = (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
      events.push(() => response.end("data: 2\n\n"));
    };
    const { body } = await get();
    const reader = (body as ReadableStream<Uint8Array>).getReader();
    expect(Buffer.from((await reader.read()).value as Uint8Array).toString()).toBe("data: 1\n\n");
    for (const end of events) end();
    await reader.cancel();
    answer = (response) => response.writeHead(204).end();
    expect((await get()).status).toBe(204);
  });

  it.each<[string, string | Buffer, Record<string, string>, RegExp]>([
    ["broken", "{", json, /is not JSON/],
    ["too large", `"${"x".repeat(1000)}"`, json, /too large/],
    ["compressed", gzipSync('{"password":"x"}'), { ...json, "content-encoding": "gzip" }, /compressed/],
  ])("never leave unchanged if they are %s", async (_, body, fields, message) => {
    send(body, fields);
    const reply = await get();
    expect(reply.status).toBe(502);
    expect(await messageOf(reply)).toMatch(message);
    send("{}");
    expect(await (await get()).text()).toBe('{"data":{}}');
  });

  it("are kept as they were changed", async () => {
    serve({ cacheMs: 60_000, responseBody: { ...none, remove: ["password"] } });
    send('{"id":1,"password":"x"}');
    expect([await (await get()).text(), await (await get()).text()]).toEqual(['{"id":1}', '{"id":1}']);
    expect(seen).toHaveLength(1);
  });

  it("of which the end never comes are an error", async () => {
    answer = (response) => {
      response.writeHead(200, { ...json, "content-length": "50" }).write("{");
      setTimeout(() => response.destroy(), 20);
    };
    expect((await get("/", {}, { method: "POST" })).status).toBe(502);
  });
});

describe("a breaker", () => {
  const breaker = { failures: 3, openMs: 400 };

  it("leaves a replica alone after so many bad answers in a row, and lets one request try", async () => {
    let status = 503;
    answer = (response) => response.writeHead(status).end();
    serve({}, "/*", { breaker, retries: 0 });
    const statusOf = async () => (await get()).status;
    expect([await statusOf(), await statusOf()]).toEqual([503, 503]);
    status = 500;
    // What a program says of one request is no sign that it is unwell.
    expect(await statusOf()).toBe(500);
    status = 502;
    for (let n = 0; n < 3; n++) await statusOf();
    expect(seen).toHaveLength(6);
    const refused = await get();
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await messageOf(refused)).toContain("left alone");
    expect(seen).toHaveLength(6);
    const waited = async () => {
      const before = seen.length;
      const deadline = Date.now() + 5000;
      while (seen.length === before && Date.now() < deadline) {
        await get();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return seen.length - before;
    };
    // The one that tries is answered badly: it is left alone again.
    expect(await waited()).toBe(1);
    expect((await get()).status).toBe(503);
    expect(seen).toHaveLength(7);
    status = 200;
    expect(await waited()).toBe(1);
    expect(await Promise.all([statusOf(), statusOf(), statusOf()])).toEqual([200, 200, 200]);
  });

  it("counts answers that do not come, and sends what others can answer to them", async () => {
    const [silent, good] = [
      await fixture.service(() => {}),
      await fixture.service((_, response) => response.end("good")),
    ];
    const policy = { breaker: { failures: 1, openMs: 60_000 }, requestTimeoutMs: 100, retries: 0 };
    fixture.apply({ endpoints: [{ port: silent }, { port: good }], policy });
    const statuses = [];
    for (let n = 0; n < 30; n++) statuses.push((await get()).status);
    expect(statuses.filter((status) => status !== 200).length).toBeLessThanOrEqual(1);
    expect(statuses.slice(-5)).toEqual([200, 200, 200, 200, 200]);
  });
});

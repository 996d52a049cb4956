import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Caller, type CallerAnswer, knownCaller } from "./caller.ts";
import { ProxyFixture } from "./proxy-fixture.ts";
import type { RouteRules } from "./route-rules.ts";

const caller = (name: string, roles: string[] = []): Caller => {
  return { name, roles, hasMfa: false, authenticatedAtMs: 0, environment: "", isPermitted: true, isWithinScopes: true };
};

let fixture: ProxyFixture;
let port = 0;
let calls: number;
let respond: (request: IncomingMessage, response: ServerResponse) => void;
let serve: (rules: RouteRules, ...paths: string[]) => void;
let callers: Record<string, Caller>;

beforeEach(async () => {
  calls = 0;
  callers = { anna: caller("user:anna"), ben: caller("user:ben"), both: caller("user:anna", ["admin"]) };
  const find = ({ token }: { token: string }): CallerAnswer => {
    const found = callers[token];
    return found ? knownCaller(found, token) : { kind: "unknown" };
  };
  fixture = new ProxyFixture({ callers: { find } });
  respond = (request, response) => {
    const who =
      request.headers["x-hms-principal"] ?? request.headers.authorization ?? request.headers.cookie ?? "nobody";
    response.end(`${calls} ${who} ${request.headers["x-hms-principal-roles"] ?? ""}`.trim());
  };
  const service = await fixture.service((request, response) => {
    calls++;
    respond(request, response);
  });
  serve = (rules, ...paths) => {
    const routes = (paths.length > 0 ? paths : ["/*"]).map((path) => ({ path, methods: [], rules }));
    fixture.apply({ endpoints: [{ port: service }], routes });
  };
  port = await fixture.listen();
});
afterEach(() => fixture.close());

const get = (path: string, headers: Record<string, string> = {}, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${port}${path}`, { headers, ...init });
const text = async (...request: Parameters<typeof get>) => (await get(...request)).text();
const as = (token: string) => ({ authorization: `Bearer ${token}` });
const auth = { isOptional: false, roles: [], permission: "", needsMfa: false, mfaMaxAgeMs: 0 };
const cacheMs = 60_000;

describe("what was made for one caller", () => {
  it.each([
    "/account/x.css",
    "/account/..;/x.js",
    "/account;x.css",
    "/account%00.css",
    "/account/x.css?v=1",
    "/account/%2e/x.png",
  ])("is nobody else's because its path looks like a file that is the same for all: %s", async (path) => {
    serve({ auth, cacheMs });
    const first = await get(path, as("anna"));
    // What climbs is refused before anything is kept.
    if (first.status === 400) return;
    expect(await first.text()).toContain("user:anna");
    expect(await text(path, as("ben"))).toContain("user:ben");
    expect((await get(path)).status).toBe(401);
  });

  it("is not a caller's who comes with other roles, nor anybody's who may no longer come in", async () => {
    serve({ auth, cacheMs });
    expect(await text("/", as("anna"))).toBe("1 user:anna");
    delete callers.anna;
    expect((await get("/", as("anna"))).status).toBe(401);
    expect(await text("/", as("both"))).toBe("2 user:anna admin");
  });

  it("is told to be private, also when it comes from what is kept", async () => {
    serve({ auth, cacheMs });
    const fields = [await get("/", as("anna")), await get("/", as("anna"))].map(({ headers }) => headers);
    expect(calls).toBe(1);
    expect(fields.map((one) => one.get("cache-control"))).toEqual(["private", "private"]);
  });

  it("is not kept for who shows the program itself who calls, by whatever field is known for that", async () => {
    serve({ cacheMs });
    for (const own of [as("x"), { cookie: "session=1" }, { "x-api-key": "k" }]) {
      const before = calls;
      await text("/", own);
      await text("/", own);
      expect({ own, calls: calls - before }).toEqual({ own, calls: 2 });
    }
    // Whatever else tells callers apart is a part of the key.
    expect(await text("/", { "x-session": "anna" })).not.toBe(await text("/", { "x-session": "ben" }));
  });
});

describe("what is kept for all", () => {
  it("is not what one client has chosen for them: by host, scheme, method, fields twice, or a body", async () => {
    serve({ cacheMs });
    respond = (request, response) =>
      response.end(`${calls} ${request.method} ${request.headers.host} ${request.headers["x-a"]}`);
    const raw = async (head: string) => {
      const client = await fixture.rawClient(port);
      const reply = await client.exchange(`${head}\r\n\r\n`, /\r\n\r\n\d+ [^\n]*$/);
      return reply.slice(reply.indexOf("\r\n\r\n") + 4);
    };
    const honest = await raw("GET /p HTTP/1.1\r\nHost: a.example");
    for (const other of [
      "GET /p HTTP/1.1\r\nHost: b.example",
      "GET http://c.example/p HTTP/1.1\r\nHost: a.example",
      "GET /p HTTP/1.1\r\nHost: a.example\r\nX-A: 1",
      "GET /p HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\nX-A: 2",
      "GET /P HTTP/1.1\r\nHost: a.example",
      "GET /p? HTTP/1.1\r\nHost: a.example",
      "GET /p?utm_source=x HTTP/1.1\r\nHost: a.example",
      "GET /p HTTP/1.1\r\nHost: a.example\r\nX-HTTP-Method-Override: DELETE",
    ]) {
      expect({ other, reply: await raw(other) }).not.toEqual({ other, reply: honest });
    }
    expect(await raw("GET /p HTTP/1.1\r\nHost: a.example")).toBe(honest);
    expect(await raw("POST /p HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0")).not.toBe(honest);
  });

  it("is whole: neither a part, nor the answer to HEAD, nor one that broke off", async () => {
    serve({ cacheMs });
    respond = (request, response) => {
      if (request.headers.range) response.writeHead(206, { "content-range": "bytes 0-0/4" }).end("w");
      else response.end("whole");
    };
    expect(await text("/r", { range: "bytes=0-0" })).toBe("w");
    await get("/r", {}, { method: "HEAD" });
    expect(await text("/r")).toBe("whole");
    expect(await text("/r", { range: "bytes=0-0" })).toBe("w");
    respond = (_, response) => {
      response.writeHead(200, { "content-length": "100" }).write("part");
      setTimeout(() => response.destroy(), 10);
    };
    await expect(text("/broken")).rejects.toThrow();
    respond = (_, response) => response.end("well");
    expect(await text("/broken")).toBe("well");
  });

  it("is no error, no redirect, and nothing that varies by what is not in the key", async () => {
    serve({ cacheMs });
    for (const [status, fields] of [
      [404, {}],
      [500, {}],
      [302, { location: "https://evil.example" }],
      [203, {}],
      [200, { vary: "accept, user-agent" }],
      [200, { vary: "x-request-id" }],
      [200, { "set-cookie": "session=anna" }],
      [200, { "cache-control": 'private="x-user"' }],
      [200, { "cache-control": "public, no-cache" }],
      [200, { pragma: "no-cache" }],
      [200, { expires: "0" }],
      [200, { expires: "Thu, 19 Nov 1981 08:52:00 GMT" }],
    ] as const) {
      respond = (_, response) => response.writeHead(status, fields as Record<string, string>).end();
      const before = calls;
      await get("/e", {}, { redirect: "manual" });
      await get("/e", {}, { redirect: "manual" });
      expect({ status, fields, calls: calls - before }).toEqual({ status, fields, calls: 2 });
    }
  });

  it("varies by language and by whatever else the program looks at", async () => {
    serve({ cacheMs });
    respond = (request, response) =>
      response.setHeader("vary", "accept-language").end(request.headers["accept-language"]);
    expect([await text("/l", { "accept-language": "de" }), await text("/l", { "accept-language": "fr" })]).toEqual([
      "de",
      "fr",
    ]);
    expect(await text("/l", { "accept-language": "de" })).toBe("de");
    expect(calls).toBe(2);
  });

  it("ends with the table that it was kept under, and is one route's only", async () => {
    serve({ cacheMs }, "/a", "/b");
    const first = await text("/a");
    expect(await text("/b")).not.toBe(first);
    serve({ auth, cacheMs }, "/a", "/b");
    expect((await get("/a")).status).toBe(401);
    serve({ cacheMs }, "/a", "/b");
    expect(await text("/a")).not.toBe(first);
  });
});

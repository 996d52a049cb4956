import { once } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Caller, type CallerAnswer, type CallerQuestion, knownCaller } from "./caller.ts";
import { ProxyFixture, readBody, until } from "./proxy-fixture.ts";
import type { RouteRules } from "./route-rules.ts";

const anna: Caller = {
  name: "user:anna",
  roles: ["developer", "odd,role"],
  hasMfa: false,
  authenticatedAtMs: 0,
  environment: "",
  isPermitted: true,
  isWithinScopes: true,
};

let fixture: ProxyFixture;
let asked: CallerQuestion[];
let seen: IncomingHttpHeaders[];
let answers: Record<string, CallerAnswer | Promise<CallerAnswer>>;
let held: (() => void)[];
let port = 0;
let answerFields: Record<string, string | string[]>;

beforeEach(async () => {
  asked = [];
  seen = [];
  held = [];
  answerFields = {};
  answers = { good: knownCaller(anna, "d1") };
  const callers = {
    find(question: CallerQuestion) {
      asked.push(question);
      return answers[question.token] ?? ({ kind: "unknown" } as const);
    },
  };
  fixture = new ProxyFixture({ callers });
  const service = await fixture.service(async (request, response) => {
    seen.push(request.headers);
    await readBody(request);
    for (const [name, value] of Object.entries(answerFields)) response.setHeader(name, value);
    if (request.url === "/hold") await new Promise<void>((resolve) => held.push(resolve));
    response.end(`answer ${seen.length} for ${request.headers["x-hms-principal"] ?? "nobody"}`);
  });
  serve = (rules) =>
    fixture.apply({
      endpoints: [{ port: service }],
      routes: [{ path: "/*", methods: [], ...(rules ? { rules } : {}) }],
    });
  port = await fixture.listen();
});
afterEach(() => {
  for (const release of held) release();
  return fixture.close();
});

let serve: (rules?: RouteRules) => void;
const required = { isOptional: false, roles: [], permission: "", needsMfa: false, mfaMaxAgeMs: 0 };
const limit = { by: "address", count: 0, periodMs: 1000, burst: 1, concurrency: 0 } as const;

const get = (path = "/", headers: Record<string, string> = {}, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${port}${path}`, { headers, ...init });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const messageOf = async (answer: Response) => ((await answer.json()) as { error: { message: string } }).error.message;

describe("a route without auth", () => {
  it("passes credentials on as they came, and never what a client says of principals", async () => {
    serve();
    await get("/", {
      ...bearer("good"),
      "x-hms-principal": "user:root",
      "X-HMS-Principal-Roles": "admin",
      x_hms_principal: "user:root",
      "x-hms-timeout-ms": "5",
    });
    expect(asked).toEqual([]);
    expect(seen[0]).toMatchObject({ authorization: "Bearer good", "x-hms-timeout-ms": "5" });
    expect(Object.keys(seen[0] ?? {}).filter((name) => /hms.principal/.test(name))).toEqual([]);
  });
});

describe("a route that demands a caller", () => {
  it("says how to show who calls, and lets in whom the source knows, once it has answered", async () => {
    serve({ auth: required });
    const none = await get();
    expect([none.status, none.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm="hms-sys"']);
    const wrong = await get("/", bearer("bad"));
    expect([wrong.status, wrong.headers.get("www-authenticate")]).toEqual([
      401,
      'Bearer realm="hms-sys", error="invalid_token"',
    ]);
    for (const authorization of ["Basic eDp5", "Bearer", "Bearer a b", "good"])
      expect((await get("/", { authorization })).status).toBe(401);
    const slow = Promise.withResolvers<CallerAnswer>();
    answers.slow = slow.promise;
    const waiting = get("/", bearer("slow"), { method: "POST", body: "x".repeat(100_000) });
    await until(() => asked.at(-1)?.token === "slow");
    slow.resolve(knownCaller(anna, "d2"));
    expect((await waiting).status).toBe(200);
    expect(asked.at(-1)).toMatchObject({ isSafe: false, permission: "", address: "127.0.0.1" });
    expect((await get("/", bearer("good"))).status).toBe(200);
    expect(seen).toHaveLength(2);
  });

  it("tells the service who calls, and keeps the credentials to itself", async () => {
    serve({ auth: required });
    await get("/", { ...bearer("good"), "x-hms-principal": "user:root" });
    expect(seen[0]).toMatchObject({
      "x-hms-principal": "user:anna",
      "x-hms-principal-roles": "developer,odd%2Crole",
      "x-hms-principal-mfa": "false",
    });
    expect(seen[0]?.authorization).toBeUndefined();
  });

  it.each([
    ["a role", { roles: ["admin", "operator"] }, {}, "one of the roles admin, operator"],
    ["a permission", { permission: "orders:write" }, { isPermitted: false }, "permission orders:write"],
    ["a second factor", { needsMfa: true }, {}, "second factor"],
    ["scopes that reach services", {}, { isWithinScopes: false }, "limited to permissions"],
    ["its environment", {}, { environment: "staging" }, 'environment "staging" only'],
  ])("refuses whoever lacks %s, with the reason", async (_, auth, caller, message) => {
    serve({ auth: { ...required, ...auth } });
    answers.good = knownCaller({ ...anna, ...caller }, "d1");
    const answer = await get("/", bearer("good"));
    expect(answer.status).toBe(403);
    expect(await messageOf(answer)).toContain(message);
    expect(seen).toEqual([]);
  });

  it("refuses whose second factor has become too old since, with what to show (RFC 9470)", async () => {
    serve({ auth: { ...required, needsMfa: true, mfaMaxAgeMs: 900_000 } });
    const shown = (ago: number, hasMfa = true) =>
      knownCaller({ ...anna, hasMfa, authenticatedAtMs: ago === 0 ? 0 : Date.now() - ago }, "d1");
    // One and the same that is remembered, once young enough and then not any more.
    const remembered = shown(897_000);
    answers = { young: remembered, old: shown(901_000), unknown: shown(0), none: shown(1, false) };
    expect((await get("/", bearer("young"))).status).toBe(200);
    for (const token of ["old", "unknown", "none"]) {
      const answer = await get("/", bearer(token));
      expect(answer.status, token).toBe(403);
      expect(answer.headers.get("www-authenticate")).toBe(
        'Bearer realm="hms-sys", error="insufficient_user_authentication", max_age="900"',
      );
      expect(await messageOf(answer)).toMatch(token === "none" ? /second factor/ : /at most 900 s ago/);
    }
    await expect.poll(async () => (await get("/", bearer("young"))).status, { timeout: 10_000 }).toBe(403);
    expect(seen.length).toBeGreaterThan(0);
  });

  it("answers 503 while nobody can say, and 429 to who guesses", async () => {
    serve({ auth: required });
    answers.away = { kind: "unavailable", message: "The server is away." };
    answers.broken = Promise.reject(new Error("broken"));
    (answers.broken as Promise<unknown>).catch(() => {});
    answers.guess = { kind: "too-many", retryAfterS: 7 };
    expect((await get("/", bearer("away"))).status).toBe(503);
    expect((await get("/", bearer("broken"))).status).toBe(503);
    const guess = await get("/", bearer("guess"));
    expect([guess.status, guess.headers.get("retry-after")]).toEqual([429, "7"]);
  });

  it("lets nobody in by two Authorization fields, by HTTP/2, by an upgrade or by pipelining either", async () => {
    serve({ auth: required });
    const client = await fixture.rawClient(port);
    await client.exchange(
      "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer bad\r\nAuthorization: Bearer good\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
      /401 [\s\S]*401 /,
    );
    const upgrade = await fixture.rawClient(port);
    await upgrade.exchange(
      "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
      /^HTTP\/1.1 401 /,
    );
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const [refused] = await once(session.request({ ":path": "/" }).resume(), "response");
    const [known] = await once(session.request({ ":path": "/", ...bearer("good") }).resume(), "response");
    session.destroy();
    expect([refused[":status"], known[":status"]]).toEqual([401, 200]);
    expect(seen).toHaveLength(1);
  });

  it("forgets a request whose client goes while the answer is awaited", async () => {
    serve({ auth: required, limits: [{ ...limit, by: "route", concurrency: 1 }] });
    const slow = Promise.withResolvers<CallerAnswer>();
    answers.slow = slow.promise;
    const client = await fixture.rawClient(port);
    client.socket.write("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer slow\r\n\r\n");
    await until(() => asked.length === 1);
    expect((await get("/", bearer("good"))).status).toBe(429);
    client.socket.destroy();
    await until(() => fixture.engine.metrics().includes("hms_proxy_client_connections 1\n"));
    slow.resolve(knownCaller(anna, "d2"));
    await slow.promise;
    expect((await get("/", bearer("good"))).status).toBe(200);
    expect(seen).toHaveLength(1);
  });

  it("lets callers without credentials in as nobody, if they are optional, but no wrong ones", async () => {
    serve({ auth: { ...required, isOptional: true } });
    expect(await (await get()).text()).toContain("for nobody");
    expect(await (await get("/", bearer("good"))).text()).toContain("for user:anna");
    expect((await get("/", bearer("bad"))).status).toBe(401);
  });
});

describe("limits of a route", () => {
  it("say what is left, and refuse what is too much with the time to wait", async () => {
    serve({ limits: [{ ...limit, count: 2, periodMs: 60_000, burst: 2 }] });
    const first = await get();
    expect(first.headers.get("ratelimit-policy")).toBe('"address";q=2;w=60');
    expect(first.headers.get("ratelimit")).toMatch(/^"address";r=1;t=30$/);
    await get();
    const refused = await get();
    expect(refused.status).toBe(429);
    expect(refused.headers.get("ratelimit")).toMatch(/^"address";r=0;t=(?:59|60)$/);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(25);
    expect(seen).toHaveLength(2);
  });

  it("go on counting when the table changes around them, and begin anew when they change", async () => {
    const limits = [{ ...limit, count: 1, periodMs: 60_000 }];
    serve({ limits });
    await get();
    serve({ limits, hasSecurityFields: true });
    expect((await get()).status).toBe(429);
    serve({ limits: [{ ...limit, count: 2, periodMs: 60_000 }] });
    expect((await get()).status).toBe(200);
  });

  it("count callers by name and by what they show, whoever they come as", async () => {
    const other = { ...anna, name: "user:ben" };
    answers.ben = knownCaller(other, "d2");
    answers.annaToo = knownCaller(anna, "d3");
    serve({ auth: required, limits: [{ ...limit, by: "principal", count: 1, periodMs: 60_000 }] });
    const status = async (token: string) => (await get("/", bearer(token))).status;
    expect([await status("good"), await status("annaToo"), await status("ben")]).toEqual([200, 429, 200]);
    serve({ auth: required, limits: [{ ...limit, by: "credential", count: 1, periodMs: 60_000 }] });
    expect([await status("good"), await status("annaToo"), await status("good")]).toEqual([200, 200, 429]);
  });

  it("bound how many run at the same time", async () => {
    serve({ limits: [{ ...limit, concurrency: 2 }] });
    const running = [get("/hold"), get("/hold")];
    await until(() => held.length === 2);
    const refused = await get("/hold");
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    for (const release of held.splice(0)) release();
    await Promise.all(running);
    expect((await get()).status).toBe(200);
  });

  it("refuse bodies that are too large, announced or not", async () => {
    serve({ maxBodyBytes: 1000 });
    const post = (body: string | ReadableStream) =>
      get("/", {}, { method: "POST", body, duplex: "half" } as RequestInit);
    expect((await post("x".repeat(1000))).status).toBe(200);
    expect((await post("x".repeat(1001))).status).toBe(413);
    const pieces = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 3; i++) controller.enqueue(new Uint8Array(500));
        controller.close();
      },
    });
    expect((await post(pieces)).status).toBe(413);
  });
});

describe("fields of a route", () => {
  it("are set and left out, both ways, with security fields where the service says nothing", async () => {
    answerFields = { server: "x/1", "x-frame-options": "DENY", "x-old": "1" };
    serve({
      hasSecurityFields: true,
      requestFields: { set: { "X-Api-Version": "2" }, remove: ["x-debug"] },
      responseFields: { set: { "X-Old": "2" }, remove: ["Server"] },
    });
    const answer = await get("/", { "x-debug": "1", "x-api-version": "1" });
    expect(seen[0]).toMatchObject({ "x-api-version": "2" });
    expect(seen[0]?.["x-debug"]).toBeUndefined();
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      "x-old": "2",
      "x-frame-options": "DENY",
      "x-content-type-options": "nosniff",
      "referrer-policy": "strict-origin-when-cross-origin",
    });
    expect(answer.headers.get("server")).toBeNull();
  });
});

describe("answers that are kept", () => {
  const text = async (path = "/", headers: Record<string, string> = {}) => (await get(path, headers)).text();

  it("are given again to who asks for the same, with their age", async () => {
    serve({ cacheMs: 60_000 });
    const [first, second] = [await get("/a"), await get("/a")];
    expect(await second.text()).toBe(await first.text());
    expect([first.headers.get("age"), second.headers.get("age")]).toEqual([null, "0"]);
    expect((await get("/a", {}, { method: "HEAD" })).headers.get("content-length")).toBe("19");
    expect(seen).toHaveLength(1);
    expect(await text("/a?b")).not.toBe(await text("/a"));
  });

  it("never go to another caller, nor to who shows credentials of his own", async () => {
    answers.ben = knownCaller({ ...anna, name: "user:ben" }, "d2");
    serve({ auth: { ...required, isOptional: true }, cacheMs: 60_000 });
    const all = [
      await text("/", bearer("good")),
      await text("/", bearer("ben")),
      await text(),
      await text("/", bearer("good")),
    ];
    expect(all).toEqual([
      "answer 1 for user:anna",
      "answer 2 for user:ben",
      "answer 3 for nobody",
      "answer 1 for user:anna",
    ]);
    serve({ cacheMs: 60_000 });
    for (const own of [{ cookie: "a=1" }, bearer("x"), { range: "bytes=0-1" }, { "cache-control": "no-cache" }]) {
      const before = seen.length;
      await text("/own", own);
      await text("/own", own);
      expect(seen.length - before).toBe(2);
    }
  });

  it("cannot be spoilt for others by fields that the service may look at", async () => {
    serve({ cacheMs: 60_000 });
    await text("/p", { "x-forwarded-host": "evil", "x-original-url": "/admin", "accept-language": "xx" });
    expect(await text("/p")).toBe("answer 2 for nobody");
    await text("/p", { "x-forwarded-host": "evil", "user-agent": "other" });
    expect(seen).toHaveLength(2);
  });

  it.each([
    [{ "cache-control": "no-store" }],
    [{ "cache-control": "private, max-age=60" }],
    [{ "cache-control": "max-age=0" }],
    [{ vary: "user-agent" }],
    [{ vary: "*" }],
    [{ "set-cookie": "a=1" }],
  ])("are not those that the service keeps to itself: %j", async (fields) => {
    answerFields = fields as Record<string, string>;
    serve({ cacheMs: 60_000 });
    await text();
    await text();
    expect(seen).toHaveLength(2);
  });
});

describe("what is told of refusals", () => {
  it("is the rule, the caller if there is one, and the network, but no path and no credentials", async () => {
    const operators = { ...required, roles: ["operator"] };
    serve({ auth: operators, limits: [{ ...limit, count: 3, periodMs: 60_000, burst: 3 }] });
    expect((await get("/secret/4711?token=abc")).status).toBe(401);
    expect((await get("/secret/4711", bearer("bad"))).status).toBe(401);
    expect((await get("/secret/4711", bearer("good"))).status).toBe(403);
    expect((await get("/secret/4711", bearer("good"))).status).toBe(429);
    const { requests, denials } = fixture.engine.takeSensors();
    const place = { environment: "default", service: "svc", method: "GET", route: "/*", network: "127.0.0.0/24" };
    expect(denials).toMatchObject({
      total: 4,
      values: [
        { ...place, status: 401, rule: "credentials", principal: "" },
        { ...place, status: 401, rule: "credentials", principal: "" },
        { ...place, status: 403, rule: "roles", principal: "user:anna" },
        { ...place, status: 429, rule: "limit:address", principal: "" },
      ],
    });
    expect(JSON.stringify(denials)).not.toMatch(/4711|abc|good|bad|127\.0\.0\.1/);
    // Nobody of the service has seen them.
    expect(requests.total).toBe(0);
    expect(fixture.engine.takeSensors().denials.total).toBe(0);
  });
});

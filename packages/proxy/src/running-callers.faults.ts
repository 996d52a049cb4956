import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import type { Socket } from "node:net";
import { machineSlowness } from "@hms/testkit";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Caller, type CallerAnswer, type CallerQuestion, knownCaller } from "./caller.ts";
import { ProxyFixture, type RawClient, until } from "./proxy-fixture.ts";

const callerNamed = (name: string, more: Partial<Caller> = {}): Caller => ({
  name: `user:${name}`,
  roles: ["developer"],
  hasMfa: false,
  authenticatedAtMs: 0,
  environment: "",
  isPermitted: true,
  isWithinScopes: true,
  ...more,
});
const known = (name: string, more?: Partial<Caller>, endsAtMs?: number) =>
  knownCaller(callerNamed(name, more), `digest of ${name}`, endsAtMs);
const unknown = { kind: "unknown" } as const;
const unavailable = { kind: "unavailable", message: "away" } as const;

let fixture: ProxyFixture;
let port: number;
let answers: Record<string, CallerAnswer | Promise<CallerAnswer>>;
let asked: string[];
let changed: (names?: readonly string[]) => void;
let held: Map<string, ServerResponse>;
let upgrades: Socket[];
let slowness: number;
beforeAll(async () => {
  slowness = await machineSlowness();
});

beforeEach(async () => {
  answers = { anna: known("anna"), ben: known("ben") };
  asked = [];
  held = new Map();
  upgrades = [];
  const callers = {
    find({ token }: CallerQuestion) {
      asked.push(token);
      return answers[token] ?? unknown;
    },
    follow(listener: typeof changed) {
      changed = listener;
    },
  };
  fixture = new ProxyFixture({ callers });
  const service = await fixture.service(
    (request, response) => {
      const url = request.url ?? "";
      held.set(url, response);
      request.resume();
      if (url.startsWith("/stream")) response.write("first ");
    },
    (server) => server.on("upgrade", (_, socket: Socket) => void upgrades.push(socket)),
  );
  const auth = { isOptional: false, roles: ["developer"], permission: "", needsMfa: false, mfaMaxAgeMs: 0 };
  fixture.apply({ endpoints: [{ port: service }], routes: [{ path: "/*", methods: [], rules: { auth } }] });
  port = await fixture.listen();
});
afterEach(() => fixture.close());

const requestOf = (path: string, token: string, fields = "") =>
  `GET ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n${fields}\r\n`;

/** An answer that goes on and on. */
async function stream(token: string): Promise<RawClient> {
  const client = await fixture.rawClient(port);
  await client.exchange(requestOf(`/stream-${token}`, token), /first/);
  return client;
}

/** A WebSocket, or what is one to a gateway. */
async function tunnel(token: string): Promise<RawClient> {
  const before = upgrades.length;
  const client = await fixture.rawClient(port);
  client.socket.write(requestOf("/chat", token, "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  await until(() => upgrades.length > before);
  upgrades.at(-1)?.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello");
  await client.exchange("", /hello/);
  return client;
}

/** True if it is cut within a second, of a machine that has nothing else to do. */
async function isCut(client: RawClient): Promise<boolean> {
  const until = performance.now() + 1000 * slowness;
  while (!client.isClosed && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
  return client.isClosed;
}

describe.each([
  ["a streamed answer", stream],
  ["a tunnel", tunnel],
])("%s of a caller who is named as one that may do less", (_, open) => {
  it("is cut within a second if they may not have it any more, and nobody else's is", async () => {
    const [anna, ben] = [await open("anna"), await open("ben")];
    answers.anna = unknown;
    answers.ben = unknown;
    changed(["user:anna", "user:carl"]);
    expect(await isCut(anna)).toBe(true);
    expect(ben.isClosed).toBe(false);
    await until(() => fixture.engine.inFlight("a") === 1);
  });

  it("runs on if they still may, and is cut if the role that the route demands is gone", async () => {
    const anna = await open("anna");
    changed(["user:anna"]);
    expect(await isCut(anna)).toBe(false);
    answers.anna = known("anna", { roles: ["viewer"] });
    changed(["user:anna"]);
    expect(await isCut(anna)).toBe(true);
  });

  it("is cut if nobody can say whether they still may", async () => {
    const anna = await open("anna");
    answers.anna = unavailable;
    changed(["user:anna"]);
    expect(await isCut(anna)).toBe(true);
  });

  it("ends with their session, unless that was prolonged meanwhile", async () => {
    answers.anna = known("anna", {}, Date.now() + 400);
    answers.ben = known("ben", {}, Date.now() + 400);
    const [anna, ben] = [await open("anna"), await open("ben")];
    answers.ben = known("ben");
    expect(await isCut(anna)).toBe(true);
    expect(ben.isClosed).toBe(false);
  });

  it("is cut when word comes while they were being looked up", async () => {
    const late = Promise.withResolvers<CallerAnswer>();
    answers.anna = late.promise;
    const opening = open("anna");
    await until(() => asked.length === 1);
    changed(["user:anna"]);
    answers.anna = unknown;
    late.resolve(known("anna"));
    expect(await isCut(await opening)).toBe(true);
  });
});

describe("when anybody may do less", () => {
  it("everybody is asked for again, and only those who may not have what runs for them are cut", async () => {
    const [anna, ben] = [await stream("anna"), await tunnel("ben")];
    answers.anna = unknown;
    changed();
    expect(await isCut(anna)).toBe(true);
    expect(ben.isClosed).toBe(false);
    expect(asked.filter((token) => token === "ben")).toHaveLength(2);
  });

  it("what runs goes on while nobody can say, until somebody can", async () => {
    const [anna, ben] = [await stream("anna"), await stream("ben")];
    answers.anna = unavailable;
    answers.ben = unavailable;
    changed();
    expect(await isCut(anna)).toBe(false);
    answers.anna = unknown;
    answers.ben = known("ben");
    await until(() => anna.isClosed);
    expect(ben.isClosed).toBe(false);
  });
});

describe("a request that was let in before", () => {
  it("is answered if its answer is short, however late it begins; a long one is cut", async () => {
    const [short, long] = [await fixture.rawClient(port), await fixture.rawClient(port)];
    short.socket.write(requestOf("/short", "anna"));
    long.socket.write(requestOf("/long", "anna"));
    await until(() => held.has("/short") && held.has("/long"));
    answers.anna = unknown;
    changed(["user:anna"]);
    expect(await isCut(short)).toBe(false);
    held.get("/short")?.end("done");
    held.get("/long")?.write("beginning");
    await short.exchange("", /200 OK[\s\S]*done/);
    expect(await isCut(long)).toBe(true);
  });

  it("is cut if its own body still comes", async () => {
    const client = await fixture.rawClient(port);
    client.socket.write(requestOf("/upload", "anna", "Content-Length: 1000\r\n").replace("GET", "POST"));
    client.socket.write("the beginning");
    await until(() => held.has("/upload"));
    answers.anna = unknown;
    changed(["user:anna"]);
    expect(await isCut(client)).toBe(true);
  });

  it("becomes no tunnel afterwards", async () => {
    const client = await fixture.rawClient(port);
    client.socket.write(requestOf("/chat", "anna", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    await until(() => upgrades.length > 0);
    answers.anna = unknown;
    changed(["user:anna"]);
    await until(() => asked.length === 2);
    upgrades[0]?.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello");
    expect(await isCut(client)).toBe(true);
  });
});

it("a stream by HTTP/2 is cut, and the connection stays", async () => {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  fixture.onClose(() => session.destroy());
  const open = async (token: string) => {
    const running = session.request({ ":path": `/stream-${token}`, authorization: `Bearer ${token}` });
    const error = once(running, "error").then(([thrown]) => thrown);
    await once(running, "data");
    return { running, error };
  };
  const [anna, ben] = [await open("anna"), await open("ben")];
  answers.anna = unknown;
  changed(["user:anna"]);
  // Not with an end that would make it a whole answer.
  expect(await anna.error).toMatchObject({ message: expect.stringContaining("INTERNAL_ERROR") });
  expect([ben.running.closed, session.closed]).toEqual([false, false]);
});

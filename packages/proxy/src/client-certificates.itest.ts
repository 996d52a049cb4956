import { once } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request } from "node:https";
import type { AddressInfo } from "node:net";
import { connect } from "node:tls";
import { type TestCertificate, testAuthority } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Caller, CallerMemo, type CallerQuestion, knownCaller } from "./caller.ts";
import { LimitBook } from "./limit-book.ts";
import type { SecureServer } from "./proxy-engine.ts";
import { ProxyFixture, RawClient } from "./proxy-fixture.ts";
import { RouteGate } from "./route-gate.ts";

const [authority, clients, strangers] = [testAuthority(), testAuthority(), testAuthority()];
const own = authority.issue("DNS:gateway.test");
const ANNA = "spiffe://test/user/anna";
const anna = clients.issue(`URI:${ANNA}`);
const ended = clients.issueEnded(`URI:${ANNA}`);

const known: Caller = {
  name: "user:anna",
  roles: [],
  hasMfa: false,
  authenticatedAtMs: 0,
  environment: "",
  isPermitted: true,
  isWithinScopes: true,
};
let isRevoked: boolean;
let changed: (names?: readonly string[]) => void;
let asked: CallerQuestion[];
let seen: IncomingHttpHeaders[];
let fixture: ProxyFixture;
let secure: SecureServer;
let port = 0;

beforeEach(async () => {
  asked = [];
  seen = [];
  const callers = {
    find(question: CallerQuestion) {
      asked.push(question);
      if (isRevoked) return { kind: "unknown" } as const;
      const isAnna = question.certificate?.uri === ANNA || question.token === "annas";
      return isAnna ? knownCaller(known, "d") : ({ kind: "unknown" } as const);
    },
    follow(listener: typeof changed) {
      changed = listener;
    },
  };
  isRevoked = false;
  fixture = new ProxyFixture({ callers });
  const service = await fixture.service((incoming, response) => {
    seen.push(incoming.headers);
    if (incoming.headers.accept === "text/event-stream") {
      response.write("first");
      return;
    }
    response.end(String(incoming.headers["x-hms-principal"] ?? "nobody"));
  });
  const auth = { isOptional: false, roles: [], permission: "", needsMfa: false, mfaMaxAgeMs: 0 };
  const route = (path: string, rules?: object) => ({ path, methods: [], ...(rules ? { rules } : {}) });
  fixture.apply({
    endpoints: [{ port: service }],
    routes: [
      route("/public"),
      route("/required", { auth }),
      route("/optional", { auth: { ...auth, isOptional: true } }),
    ],
  });
  secure = fixture.engine.createSecureServer(fixture.engine.gatewayHandler, {
    certificates: [own, authority.issue("DNS:other.test")],
    clientAuthorities: clients.ca,
  });
  secure.server.listen(0, "127.0.0.1");
  await once(secure.server, "listening");
  port = (secure.server.address() as AddressInfo).port;
});
afterEach(() => fixture.close());

const trust = { ca: authority.ca, host: "127.0.0.1", servername: "gateway.test" };

async function get(
  path: string,
  certificate?: TestCertificate,
  headers: Record<string, string> = {},
  servername = "gateway.test",
) {
  const asking = request({
    ...trust,
    ...certificate,
    servername,
    port,
    path,
    agent: false,
    headers: { host: "h", ...headers },
  });
  const [response] = await once(asking.end(), "response");
  let text = "";
  for await (const piece of response.setEncoding("utf8")) text += piece;
  return { status: response.statusCode as number, text };
}

describe("a client certificate", () => {
  it("says who calls at routes that ask, whatever the server's name, and by HTTP/2 too", async () => {
    expect(await get("/required", anna)).toEqual({ status: 200, text: "user:anna" });
    expect(await get("/optional", anna, {}, "other.test")).toEqual({ status: 200, text: "user:anna" });
    expect(asked[0]).toMatchObject({ token: "", certificate: { uri: ANNA }, isSafe: true });
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ...trust, ...anna });
    fixture.onClose(() => session.destroy());
    const stream = session.request({ ":path": "/required" });
    stream.setEncoding("utf8");
    expect(String((await once(stream, "data"))[0])).toBe("user:anna");
    expect(asked.at(-1)?.certificate?.fingerprint).toBe(asked[0]?.certificate?.fingerprint);
  });

  it("whose holder may not come in any more ends what runs by it", async () => {
    const asking = request({
      ...trust,
      ...anna,
      port,
      path: "/required",
      agent: false,
      headers: { host: "h", accept: "text/event-stream" },
    });
    const [response] = await once(asking.end(), "response");
    await once(response, "data");
    isRevoked = true;
    changed(["user:anna"]);
    const [error] = await once(response, "error");
    expect(error).toMatchObject({ code: "ECONNRESET" });
    expect(asked.at(-1)).toMatchObject({ token: "", certificate: { uri: ANNA }, isSafe: true });
  });

  it("is not needed where a route does not ask, and a token beside it counts", async () => {
    expect(await get("/public")).toEqual({ status: 200, text: "nobody" });
    expect(await get("/optional")).toEqual({ status: 200, text: "nobody" });
    expect((await get("/required")).status).toBe(401);
    expect(await get("/public", anna)).toEqual({ status: 200, text: "nobody" });
    expect(await get("/public", strangers.issue(`URI:${ANNA}`))).toEqual({ status: 200, text: "nobody" });
    expect(asked).toEqual([]);
    expect((await get("/required", anna, { authorization: "Bearer nobodys" })).status).toBe(401);
    expect((await get("/required", undefined, { authorization: "Bearer annas" })).text).toBe("user:anna");
  });

  it("of another authority, ended, for nobody or for several is refused, with the reason", async () => {
    const outcome = async (certificate: TestCertificate, path = "/required") => {
      const { status, text } = await get(path, certificate);
      return `${status} ${text}`;
    };
    expect(await outcome(strangers.issue(`URI:${ANNA}`))).toMatch(
      /^401 .*not accepted: UNABLE_TO_VERIFY|^401 .*SELF_SIGNED/,
    );
    expect(await outcome(strangers.issue(`URI:${ANNA}`), "/optional")).toMatch(/^401 /);
    expect(await outcome(ended)).toMatch(/^401 .*CERT_HAS_EXPIRED/);
    expect(await outcome(clients.issue("DNS:anna.test"))).toMatch(/^401 .*names nobody by one SPIFFE id/);
    expect(await outcome(clients.issue(`URI:${ANNA}`, "URI:spiffe://test/user/root"))).toMatch(/^401 .*names nobody/);
    expect(asked).toEqual([]);
    expect(await outcome(clients.issue("URI:spiffe://test/user/gone"))).toMatch(/^401 .*may not come in/);
    expect(seen).toEqual([]);
  });

  it("counts no longer than it is good, on a connection that stands too", () => {
    const rules = { auth: { isOptional: true, roles: [], permission: "", needsMfa: false, mfaMaxAgeMs: 0 } };
    const gate = new RouteGate(rules, {
      environment: "default",
      id: "r",
      limits: new LimitBook(undefined),
      callers: undefined,
    });
    const certificate = { kind: "accepted", uris: [ANNA], fingerprint: "f", endsAtMs: Date.now() - 1 } as const;
    const memo = new CallerMemo();
    const admission = gate.admit({ method: "GET", authorization: "", address: "127.0.0.1", certificate, memo });
    expect(admission).toMatchObject({ refusal: { status: 401, message: expect.stringContaining("has ended") } });
  });

  it("of a browser says nothing, because any page can have it shown", async () => {
    for (const site of ["cross-site", "same-origin", "none"])
      expect((await get("/required", anna, { "sec-fetch-site": site })).status).toBe(401);
    expect((await get("/optional", anna, { "sec-fetch-site": "cross-site" })).text).toBe("nobody");
  });

  it("cannot be claimed by a header field, with a certificate or without", async () => {
    const forged = {
      "client-cert": ":MIIB:",
      "client-cert-chain": ":MIIB:",
      "x-client-cert": "MIIB",
      "X-Client-Cert-DN": "CN=root",
      x_client_cert: "MIIB",
      "x-forwarded-client-cert": "Hash=1;URI=spiffe://test/user/root",
      "x-forwarded-tls-client-cert": "MIIB",
      "x-forwarded-tls-client-cert-info": "Subject=root",
      "x-ssl-client-s-dn": "CN=root",
      "x-ssl-cert": "MIIB",
      "ssl-client-verify": "SUCCESS",
      "x-tls-client-cert": "MIIB",
      "x-hms-principal": "user:root",
    };
    expect(await get("/public", anna, { ...forged, "x-client-certainty": "kept", "client-id": "kept" })).toMatchObject({
      status: 200,
      text: "nobody",
    });
    expect(await get("/required", anna, forged)).toEqual({ status: 200, text: "user:anna" });
    for (const name of Object.keys(forged).filter((each) => each !== "x-hms-principal"))
      for (const headers of seen) expect(headers).not.toHaveProperty(name.toLowerCase());
    expect(seen[0]).toMatchObject({ "client-id": "kept" });
  });

  it("counts in a resumed session as long as its authority is believed, and not a moment longer", async () => {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      secure.useCertificates({ certificates: [own], clientAuthorities: clients.ca });
      const terms = { ...trust, port, minVersion: version, maxVersion: version, ALPNProtocols: ["http/1.1"] };
      const ask = async (more: object) => {
        const socket = connect({ ...terms, ...more });
        fixture.onClose(() => socket.destroy());
        const sessions: Buffer[] = [];
        socket.on("session", (session) => sessions.push(session));
        const client = new RawClient(socket);
        await once(socket, "secureConnect");
        await client.exchange("GET /required HTTP/1.1\r\nHost: h\r\n\r\n", /\r\n\r\n.*(?:user:anna|401|UNAUTH)/s);
        return {
          session: sessions.at(-1),
          isAnna: client.received.includes("user:anna"),
          isReused: socket.isSessionReused(),
        };
      };
      const { session, isAnna } = await ask(anna);
      expect([session === undefined, isAnna]).toEqual([false, true]);
      expect(await ask({ session })).toMatchObject({ isReused: true, isAnna: true });
      secure.useCertificates({ certificates: [own], clientAuthorities: strangers.ca });
      expect(await ask({ session, ...anna })).toMatchObject({ isAnna: false });
      secure.useCertificates({ certificates: [own] });
      expect(await ask({ session })).toMatchObject({ isAnna: false });
    }
  });

  it("is asked for once authorities are named, and no longer once they are not; those that cannot be read change nothing", async () => {
    const wants = async () => {
      const socket = connect({ ...trust, port, minVersion: "TLSv1.2", maxVersion: "TLSv1.2", ...anna });
      fixture.onClose(() => socket.destroy());
      await once(socket, "secureConnect");
      const client = new RawClient(socket);
      return /user:anna/.test(await client.exchange("GET /optional HTTP/1.1\r\nHost: h\r\n\r\n", /user:anna|nobody/));
    };
    expect(await wants()).toBe(true);
    for (const broken of ["", "no PEM", own.cert.replace(/[A-Za-z0-9+/]{20}/, "x")])
      expect(() => secure.useCertificates({ certificates: [own], clientAuthorities: broken })).toThrow(
        /cannot be used/,
      );
    expect(await wants()).toBe(true);
    const standing = async (more: object) => {
      const socket = connect({ ...trust, port, ...more });
      fixture.onClose(() => socket.destroy());
      await once(socket, "secureConnect");
      const client = new RawClient(socket);
      await client.exchange("GET /optional HTTP/1.1\r\nHost: h\r\n\r\n", /user:anna|nobody/);
      return client;
    };
    const [certified, nobody] = [await standing(anna), await standing({})];
    secure.useCertificates({ certificates: [own], clientAuthorities: clients.ca + strangers.ca });
    await certified.exchange("GET /required HTTP/1.1\r\nHost: h\r\n\r\n", /user:anna[\s\S]*user:anna/);
    secure.useCertificates({ certificates: [own] });
    await certified.closed();
    await nobody.exchange("GET /public HTTP/1.1\r\nHost: h\r\n\r\n", /nobody[\s\S]*nobody/);
    expect(await wants()).toBe(false);
    secure.useCertificates({ certificates: [own], clientAuthorities: strangers.ca });
    expect((await get("/required", anna)).status).toBe(401);
    secure.useCertificates({ certificates: [own], clientAuthorities: clients.ca + strangers.ca });
    expect(await wants()).toBe(true);
  });
});

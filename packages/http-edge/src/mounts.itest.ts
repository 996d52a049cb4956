import { HmsError } from "@hms/kernel";
import { expect, test } from "vitest";
import { type EdgeFixture, edgeFixture, TOKEN } from "./testing/edge-fixture.ts";

const RULE = { permission: "hooks:receive", resource: "git", auditLevel: "metadata", mutates: true } as const;

function mountEcho({ edge }: EdgeFixture, prefix: string, rule: Parameters<EdgeFixture["edge"]["mount"]>[1]) {
  edge.mount(prefix, rule, async (request, response, { principal, path, query, readBody }) => {
    if (path === "/fail") throw new HmsError("FAILED_PRECONDITION", "Not now.");
    const body = (await readBody()).toString();
    response.end(JSON.stringify({ method: request.method, by: principal.id, path, query, body }));
  });
}

test("a mount is called with its principal and what is below its prefix, and leaves an audit event", async () => {
  await using fixture = await edgeFixture();
  mountEcho(fixture, "/hooks", RULE);
  const response = await fixture.fetch("/hooks/git/push?x=1", { method: "POST", body: "hello" });
  expect(await response.json()).toEqual({ method: "POST", by: "test", path: "/git/push", query: "x=1", body: "hello" });
  expect(fixture.events).toMatchObject([
    { method: "edge:/hooks", permission: "hooks:receive", resource: "git", outcome: "OK" },
  ]);
});

test("a mount is closed to nobody known, and the denial is audited", async () => {
  await using fixture = await edgeFixture();
  mountEcho(fixture, "/hooks", { ...RULE, auditLevel: "none", mutates: false });
  const response = await fixture.fetch("/hooks", { headers: { authorization: null } });
  expect(response.status).toBe(401);
  expect(fixture.events).toMatchObject([{ outcome: "denied", method: "edge:/hooks" }]);
});

test("a public mount takes whatever credentials its protocol has, and is audited all the same", async () => {
  await using fixture = await edgeFixture();
  mountEcho(fixture, "/hooks", { ...RULE, public: true });
  const response = await fixture.fetch("/hooks", { headers: { authorization: "Signature abc" } });
  expect(await response.json()).toMatchObject({ by: "anonymous" });
  expect(fixture.events).toMatchObject([{ outcome: "OK", method: "edge:/hooks" }]);
});

test("what a mounted handler throws is told as any error", async () => {
  await using fixture = await edgeFixture();
  mountEcho(fixture, "/hooks", RULE);
  const response = await fixture.fetch("/hooks/fail");
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { status: "FAILED_PRECONDITION" } });
});

test("a mounted handler's body is within the edge's limits", async () => {
  await using fixture = await edgeFixture({ edge: { maxBodyBytes: 1000 } });
  mountEcho(fixture, "/hooks", RULE);
  expect((await fixture.fetch("/hooks", { method: "POST", body: "x".repeat(2000) })).status).toBe(413);
});

test("the longest prefix takes a request, and a prefix ends with a segment", async () => {
  await using fixture = await edgeFixture();
  for (const prefix of ["/a", "/a/b"]) fixture.edge.mount(prefix, RULE, (_, response) => void response.end(prefix));
  const answer = async (path: string) => (await fixture.fetch(path)).text();
  expect([await answer("/a/c"), await answer("/a/b/c"), await answer("/a/bc")]).toEqual(["/a", "/a/b", "/a"]);
  expect((await fixture.fetch("/ab")).status).toBe(404);
  expect(() => fixture.edge.mount("/a", RULE, () => {})).toThrow(/already/);
  expect(() => fixture.edge.mount("a/", RULE, () => {})).toThrow(/path/);
});

test("a change through a mount is refused while the audit spool is full", async () => {
  for (const open of [{}, { public: true as const }]) {
    await using fixture = await edgeFixture({ kernel: { audit: { accepts: false, record: () => {} } } });
    mountEcho(fixture, "/hooks", { ...RULE, ...open });
    expect((await fixture.fetch("/hooks", { method: "POST" })).status).toBe(503);
  }
});

test("a browser's Basic password opens what is for browsers and calls nothing", async () => {
  await using fixture = await edgeFixture();
  fixture.edge.mount("/page", { ...RULE, browser: true }, (_, response) => void response.end("page"));
  const authorization = `Basic ${Buffer.from(`x:${TOKEN}`).toString("base64")}`;
  const headers = { authorization, "sec-fetch-site": "same-origin" };
  expect(await (await fixture.fetch("/page", { headers })).text()).toBe("page");
  expect((await fixture.fetch("/v1/books/x", { headers })).status).toBe(401);
  const refused = await fixture.fetch("/page", { headers: { authorization: null } });
  expect(refused.headers.get("www-authenticate")).toBe('Basic realm="hms-sys"');
});

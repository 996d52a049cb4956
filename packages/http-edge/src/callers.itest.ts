import type { CallContext } from "@hms/kernel";
import { HmsError } from "@hms/kernel";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EdgeFixture, edgeFixture, TOKEN } from "./testing/edge-fixture.ts";

let edge: EdgeFixture;
let seen: CallContext | undefined;
beforeAll(async () => {
  edge = await edgeFixture({
    handlers: {
      getBook: ({ name }: { name: string }, context: CallContext) => {
        seen = context;
        if (name === "wait") return new Promise(() => {});
        if (name === "busy")
          throw new HmsError("RESOURCE_EXHAUSTED", "Too many.", { reason: "BUSY", retryAfterMs: 1200 });
        if (name === "step-up") {
          const metadata = { max_age: "900" };
          throw new HmsError("PERMISSION_DENIED", "Too old.", { reason: "STEP_UP_REQUIRED", metadata });
        }
        if (name === "hostile") {
          const metadata = { max_age: '1"\r\nset-cookie: a=b' };
          throw new HmsError("PERMISSION_DENIED", "Too old.", { reason: "STEP_UP_REQUIRED", metadata });
        }
        if (name === "broken") throw new Error("a secret of the inside");
        return { name };
      },
    },
    edge: { hosts: ["localhost", "*.localhost", "127.0.0.1"], origins: ["https://console.example.org"] },
  });
});
afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
});

const get = (headers: Record<string, string | null>, path = "/v1/books/x") => edge.fetch(path, { headers });
const basic = (password: string) => `Basic ${Buffer.from(`anybody:${password}`).toString("base64")}`;

describe("a caller", () => {
  test.each([`Bearer ${TOKEN}`, `bearer ${TOKEN}`, basic(TOKEN)])("is known by %s", async (authorization) => {
    expect((await get({ authorization })).status).toBe(200);
    expect(seen?.principal.id).toBe("test");
  });

  test.each([null, "Bearer wrong", basic("wrong"), "Digest x", "Bearer"])(
    "is not known by %s",
    async (authorization) => {
      const response = await get({ authorization });
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toBe('Bearer realm="hms-sys"');
      expect(await response.json()).toMatchObject({ error: { code: 401, status: "UNAUTHENTICATED" } });
    },
  );

  test("is not known by what an address says: keys and tokens go in fields alone", async () => {
    for (const name of ["access_token", "token", "api_key", "authorization", "key"]) {
      const query = new URLSearchParams({ [name]: TOKEN });
      expect([name, (await get({ authorization: null }, `/v1/books/x?${query}`)).status]).not.toEqual([name, 200]);
    }
  });

  test("is denied in the audit log", async () => {
    await get({ authorization: null });
    expect(edge.events.at(-1)).toMatchObject({ outcome: "denied", method: "hms.library.v1.LibraryService/GetBook" });
  });
});

test("those whom nobody knows cannot fill the audit log, and hold nobody up who is known", async () => {
  await using own = await edgeFixture();
  const call = async (authorization: string | null) =>
    (await own.fetch("/v1/books/x", { headers: { authorization } })).status;
  const statuses = new Set<number>();
  for (let n = 0; n < 300; n += 1) statuses.add(await call(n % 2 === 0 ? null : `Bearer guess-${n}`));
  expect(statuses).toEqual(new Set([401, 429]));
  expect(own.events.filter(({ outcome }) => outcome === "denied").length).toBeLessThan(200);
  // Neither who is known already, nor who shows good credentials for the first time.
  expect(await call(`Bearer ${TOKEN}`)).toBe(200);
  expect(await call(basic(TOKEN))).toBe(200);
  expect(await call("Bearer another")).toBe(429);
  expect(await call("Digest another")).toBe(429);
});

describe("an error", () => {
  test("that more has to be shown says what (RFC 9470), and nothing that a service makes up", async () => {
    const challenged = async (name: string) => {
      const { status, headers } = await get({}, `/v1/books/${name}`);
      return [status, headers.get("www-authenticate"), headers.get("set-cookie")];
    };
    const error = 'Bearer realm="hms-sys", error="insufficient_user_authentication"';
    expect(await challenged("step-up")).toEqual([403, `${error}, max_age="900"`, null]);
    expect(await challenged("hostile")).toEqual([403, error, null]);
  });

  test("has Google's shape, its details, and when to come back", async () => {
    const response = await get({}, "/v1/books/busy");
    expect([response.status, response.headers.get("retry-after")]).toEqual([429, "2"]);
    expect(await response.json()).toEqual({
      error: {
        code: 429,
        status: "RESOURCE_EXHAUSTED",
        message: "Too many.",
        details: [
          { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "BUSY", domain: "hms-sys" },
          { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "1.200s" },
        ],
      },
    });
  });

  test("of the inside stays inside", async () => {
    const response = await get({}, "/v1/books/broken");
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret");
  });
});

describe("a request", () => {
  test("keeps its id, or gets one of its own", async () => {
    expect((await get({ "x-request-id": "mine-1" })).headers.get("x-request-id")).toBe("mine-1");
    expect(seen?.requestId).toBe("mine-1");
    const own = (await get({ "x-request-id": "not one" })).headers.get("x-request-id");
    expect(own).toMatch(/^[0-9a-f]{24}$/);
    expect(seen?.requestId).toBe(own);
    expect((await get({}, "/nothing")).headers.get("x-request-id")).not.toBe(own);
  });

  test("passes trace context and its own fields on, and no credentials", async () => {
    await get({
      traceparent: "00-1-2-01",
      "x-tenant": "a",
      "idempotency-key": "k1",
      cookie: "c=1",
      "x-forwarded-for": "1.2.3.4",
    });
    expect(seen?.metadata).toEqual({
      "x-request-id": seen?.requestId,
      traceparent: "00-1-2-01",
      "x-tenant": "a",
      "x-hms-idempotency-key": "k1",
    });
  });

  test.each([
    ["x-hms-timeout-ms", "50"],
    ["connect-timeout-ms", "50"],
    ["grpc-timeout", "50m"],
  ])("ends at the deadline that %s names", async (name, value) => {
    const response = await get({ [name]: value }, "/v1/books/wait");
    expect(response.status).toBe(504);
    expect(seen?.signal.aborted).toBe(true);
  });

  test.each([
    ["x-hms-timeout-ms", "soon"],
    ["grpc-timeout", "5"],
    ["x-hms-environment", "../x"],
  ])("is refused if %s is %s", async (name, value) => {
    expect((await get({ [name]: value })).status).toBe(400);
  });

  test("whose client leaves ends the handler", async () => {
    const leaving = new AbortController();
    const response = edge.fetch("/v1/books/wait", { signal: leaving.signal }).catch((error) => error);
    await expect.poll(() => seen?.metadata).toBeDefined();
    await expect.poll(() => seen?.remainingMs).toBeUndefined();
    const { signal } = seen as CallContext;
    leaving.abort();
    expect((await response).name).toBe("AbortError");
    await expect.poll(() => signal.aborted).toBe(true);
  });
});

describe("a page", () => {
  test("of another name for this machine gets nothing", async () => {
    const { request } = await import("node:http");
    const status = await new Promise((resolve) => {
      const headers = { host: "evil.example:80", authorization: `Bearer ${TOKEN}` };
      request({ port: edge.port, path: "/v1/books/x", headers }, (response) => resolve(response.statusCode)).end();
    });
    expect(status).toBe(421);
  });

  test.each([
    ["http://evil.example", 403],
    ["null", 403],
    ["https://console.example.org", 200],
  ])("of the origin %s gets %i", async (origin, status) => {
    const response = await get({ origin });
    expect(response.status).toBe(status);
    expect(response.headers.get("access-control-allow-origin")).toBe(status === 200 ? origin : null);
  });

  test("of this origin may call", async () => {
    expect((await get({ origin: `http://127.0.0.1:${edge.port}` })).status).toBe(200);
  });

  test("of an allowed origin may ask before", async () => {
    const response = await edge.fetch("/v1/books/x", {
      method: "OPTIONS",
      headers: {
        authorization: null,
        origin: "https://console.example.org",
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization",
      },
    });
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-methods")).toContain("GET");
    expect(response.headers.get("access-control-allow-headers")).toBe("authorization");
  });
});

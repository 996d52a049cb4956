import { request as httpRequest } from "node:http";
import { ffiOptions } from "@hms/contracts";
import { ChangeSignal, HmsError, type MethodEntry, type MethodSource } from "@hms/kernel";
import { expect, test } from "vitest";
import { edgeFixture, TOKEN } from "./testing/edge-fixture.ts";
import { libraryService } from "./testing/library-contract.ts";

/** A service that is served elsewhere, in the environments of a list, under rules that only its source knows. */
function elsewhere(environments: Set<string>) {
  const service = libraryService("RivalService");
  const changed = new ChangeSignal();
  const { METADATA } = ffiOptions.AuditLevel;
  const source: MethodSource = {
    changed,
    services: (environment) => (environments.has(environment) ? [service] : []),
    find: async ({ service: wanted, method, environment }) => {
      if (environment === "broken") throw new HmsError("UNAVAILABLE", "The registry is away.", { retryAfterMs: 1000 });
      const desc = service.methods.find(({ name }) => name === method);
      if (wanted !== service.typeName || desc === undefined || !environments.has(environment)) return undefined;
      const rule = { permission: "services:call", resourcePath: [], resource: "hms.library", auditLevel: METADATA };
      const entry: MethodEntry = {
        name: `${wanted}/${method}`,
        environment,
        desc,
        rule: { ...rule, idempotency: ffiOptions.Idempotency.NONE },
        mutates: true,
        handler: (({ name }: { name: string }) => ({ name, title: environment })) as never,
      };
      return entry;
    },
  };
  return { source, changed };
}

test("what is served elsewhere is called in the environment that a header names, as it comes and goes", async () => {
  const environments = new Set(["default", "staging"]);
  const { source, changed } = elsewhere(environments);
  await using fixture = await edgeFixture({ kernel: { elsewhere: source } });
  const call = async (headers: Record<string, string>) => {
    const path = "/v1/hms.library.v1.RivalService/Steal";
    const all = { "content-type": "application/json", ...headers };
    const response = await fixture.fetch(path, { method: "POST", body: '{"name":"x"}', headers: all });
    return { status: response.status, body: await response.json() };
  };
  expect(await call({})).toEqual({ status: 200, body: { name: "x", title: "default" } });
  expect(await call({ "x-hms-environment": "staging" })).toMatchObject({ body: { title: "staging" } });
  expect(await call({ "x-hms-environment": "other" })).toMatchObject({ status: 404 });
  expect(fixture.events.at(-1)).toMatchObject({ permission: "services:call", resource: "hms.library" });
  environments.add("other");
  changed.notify();
  await expect.poll(() => call({ "x-hms-environment": "other" })).toMatchObject({ body: { title: "other" } });
  environments.delete("other");
  changed.notify();
  expect(await call({ "x-hms-environment": "other" })).toMatchObject({ status: 404 });
});

test("a host's label is an environment", async () => {
  const { source } = elsewhere(new Set(["staging"]));
  await using fixture = await edgeFixture({ kernel: { elsewhere: source } });
  const text = await new Promise<string>((resolve, reject) => {
    const headers = { host: "staging.localhost:3000", authorization: `Bearer ${TOKEN}` };
    const path = "/v1/hms.library.v1.RivalService/Steal";
    httpRequest({ port: fixture.port, method: "POST", path, headers }, (response) => {
      response.setEncoding("utf8").once("data", resolve);
    })
      .on("error", reject)
      .end();
  });
  expect(JSON.parse(text)).toEqual({ title: "staging" });
});

test("what a contract calls a read and its rule does not is not to be had by GET", async () => {
  const { source } = elsewhere(new Set(["default"]));
  await using fixture = await edgeFixture({ kernel: { elsewhere: source } });
  const path = "/v1/hms.library.v1.RivalService/Steal";
  const { status, headers } = await fixture.json("GET", `${path}?name=x`);
  expect([status, headers.get("allow")]).toEqual([405, "POST"]);
});

test("that nobody can say who serves a method is told as it is", async () => {
  const environments = new Set(["broken"]);
  const { source } = elsewhere(environments);
  await using fixture = await edgeFixture({ kernel: { elsewhere: source } });
  const headers = { "x-hms-environment": "broken" };
  const response = await fixture.fetch("/v1/hms.library.v1.RivalService/Steal", { method: "POST", headers });
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
});

test("other protocols get first refusal, after Host and Origin", async () => {
  await using fixture = await edgeFixture({
    edge: {
      others: ({ headers }, response, { environment, requestId }) => {
        if (!headers["content-type"]?.startsWith("application/grpc")) return false;
        response.end(`grpc ${environment} ${requestId}`);
        return true;
      },
    },
  });
  const headers = { "content-type": "application/grpc-web", "x-request-id": "r1", "x-hms-environment": "staging" };
  const post = (more: Record<string, string> = {}) =>
    fixture.fetch("/hms.x.v1.X/Y", { method: "POST", headers: { ...headers, ...more } });
  expect(await (await post()).text()).toBe("grpc staging r1");
  expect((await post({ origin: "http://evil.example" })).status).toBe(403);
  expect((await fixture.fetch("/v1/books/x")).status).toBe(200);
});

import { mesh } from "@hms/contracts";
import { parseManifest } from "@hms/manifest";
import { expect, test } from "vitest";
import { meshRoute } from "./mesh-route.ts";
import { trafficPolicy } from "./replica-spec.ts";

test("what a manifest demands of callers reaches the mesh", () => {
  const text = `name: a
run: {command: x}
routes:
  - path: /a
    auth: optional
    limits: [{by: credential, rate: 10/s}, {by: route, concurrency: 3}]
    max_body: 1Mi
    response_headers: {remove: [server]}
    security_headers: true
    cache: 1m
`;
  const [route] = parseManifest(text, { resolveEnv: () => undefined }).routes.map(meshRoute);
  expect(route).toEqual({
    path: "/a",
    methods: [],
    auth: { optional: true, roles: [], permission: "", mfa: false },
    limits: [
      { by: mesh.LimitScope.CREDENTIAL, count: 10, periodMs: 1000n, burst: 10, concurrency: 0 },
      { by: mesh.LimitScope.ROUTE, count: 0, periodMs: 0n, burst: 0, concurrency: 3 },
    ],
    maxBodyBytes: 1_048_576n,
    responseFields: { set: {}, remove: ["server"], add: {}, absent: {} },
    securityFields: true,
    cacheMs: 60_000n,
  });
});

test("versions, bodies, times and the breaker of a manifest reach the mesh", () => {
  const text = `name: a
run: {command: x}
mesh: {breaker: {failures: 3, open: 5s}}
routes:
  - path: /api/v1/a/*
    strip_prefix: /api/v1
    add_prefix: /v1
    deprecated: "2026-11-01"
    sunset: "2027-05-31"
    deprecation_link: https://example.org/v2
    timeout: 5s
    request_headers: {add: {x-client: "\${client.address}"}, default: {x-api-version: "1"}}
    request_body: {rename: {user.mail: email}, remove: [admin], add: {source: web}, wrap: data}
`;
  const manifest = parseManifest(text, { resolveEnv: () => undefined });
  expect(manifest.routes.map(meshRoute)).toMatchObject([
    {
      stripPrefix: "/api/v1",
      addPrefix: "/v1",
      deprecatedAt: { seconds: BigInt(Date.UTC(2026, 10, 1) / 1000) },
      sunsetAt: { seconds: BigInt(Date.UTC(2027, 4, 31) / 1000) },
      deprecationLink: "https://example.org/v2",
      requestTimeoutMs: 5000n,
      requestFields: { add: { "x-client": `\${client.address}` }, absent: { "x-api-version": "1" } },
      requestBody: {
        rename: { "user.mail": "email" },
        remove: ["admin"],
        add: { source: '"web"' },
        wrap: "data",
        maxBytes: 1_048_576n,
      },
    },
  ]);
  expect(trafficPolicy(manifest)).toMatchObject({ breaker: { failures: 3, openMs: 5000n } });
});

test("a manifest that an older version has stored demands nothing", () => {
  expect(meshRoute({ path: "/a", methods: ["GET"] })).toEqual({
    path: "/a",
    methods: ["GET"],
    limits: [],
    maxBodyBytes: 0n,
    securityFields: false,
    cacheMs: 0n,
  });
});

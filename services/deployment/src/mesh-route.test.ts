import { mesh } from "@hms/contracts";
import { parseManifest } from "@hms/manifest";
import { expect, test } from "vitest";
import { meshRoute } from "./mesh-route.ts";

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
    responseFields: { set: {}, remove: ["server"] },
    securityFields: true,
    cacheMs: 60_000n,
  });
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

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { findRouteConflict } from "./route-rules.ts";
import { normalPicture } from "./traffic-picture.ts";

const { ACTIVE, DRAINING } = mesh.EndpointState;

function entry(init: MessageInitShape<typeof mesh.MeshServiceEntrySchema> = {}): mesh.MeshServiceEntry {
  return create(mesh.MeshServiceEntrySchema, { environment: "default", name: "receipt-svc", ...init });
}

const bytes = (picture: mesh.MeshServiceEntry) => toBinary(mesh.MeshServiceEntrySchema, normalPicture(picture));

describe("a traffic picture", () => {
  test("gets every default, so that data planes need none", () => {
    const endpoints = [{ endpointId: "r1", host: "127.0.0.1", port: 20_000, state: ACTIVE }];
    expect(normalPicture(entry({ endpoints }))).toMatchObject({
      endpoints: [{ weight: 1000 }],
      policy: { requestTimeoutMs: 30_000n, connectTimeoutMs: 1000n, retries: 1, retryPost: false },
    });
  });

  test("leads to no place where clouds have their metadata, however it is written", () => {
    const told = (host: string) => {
      try {
        normalPicture(entry({ endpoints: [{ endpointId: "r1", host, port: 80, state: ACTIVE }] }));
        return [];
      } catch (error) {
        return (error as { details: { fieldViolations: { field: string }[] } }).details.fieldViolations.map(
          ({ field }) => field,
        );
      }
    };
    const special = ["169.254.169.254", "2852039166", "0xa9.0xfe.0xa9.0xfe", "::ffff:169.254.169.254", "fe80::1", "0"];
    for (const host of [...special, "0.0.0.0", "fd00:ec2::254", "100.100.100.200"]) {
      expect([host, told(host)]).toEqual([host, ["service.endpoints[0].host"]]);
    }
    for (const host of ["127.0.0.1", "::1", "10.0.0.1", "replica-1.example"])
      expect([host, told(host)]).toEqual([host, []]);
  });

  test("keeps a weight and a number of retries of 0", () => {
    const endpoints = [{ endpointId: "r1", host: "127.0.0.1", port: 20_000, state: ACTIVE, weight: 0 }];
    expect(normalPicture(entry({ endpoints, policy: { retries: 0 } }))).toMatchObject({
      endpoints: [{ weight: 0 }],
      policy: { retries: 0 },
    });
  });

  test("has demands of routes in one form, and none that a data plane could not meet", () => {
    const { ROUTE, UNSPECIFIED } = mesh.LimitScope;
    const demanding = {
      path: "/a",
      auth: { roles: ["b", "a", "b"] },
      limits: [{ by: UNSPECIFIED, count: 5, periodMs: 1000n }],
      requestFields: { set: { "x-b": "1", "x-a": "2" }, remove: ["x-d", "x-c"] },
    };
    expect(normalPicture(entry({ routes: [demanding] })).routes[0]).toMatchObject({
      auth: { roles: ["a", "b"], optional: false },
      limits: [{ by: mesh.LimitScope.ADDRESS, burst: 5 }],
      requestFields: { remove: ["x-c", "x-d"] },
    });
    const impossible = {
      path: "/a",
      auth: { roles: [""], permission: "all" },
      limits: [{ by: ROUTE }, { by: ROUTE, count: 1 }, { by: ROUTE, count: -1, concurrency: 1 }],
      maxBodyBytes: -1n,
      cacheMs: 10n ** 12n,
      responseFields: { set: { "x-a": "b\r\nx-c: d", "X-B": "1", host: "x" }, remove: ["x-hms-principal"] },
    };
    const told = (): string[] => {
      try {
        normalPicture(entry({ routes: [impossible] }));
      } catch (error) {
        return (error as { details: { fieldViolations: { field: string }[] } }).details.fieldViolations.map(
          ({ field }) => field,
        );
      }
      return [];
    };
    expect(told().map((field) => field.replace("service.routes[0].", ""))).toEqual([
      "max_body_bytes",
      "cache_ms",
      "auth.roles",
      "auth.permission",
      "limits[0]",
      "limits[1].period_ms",
      "limits[2].count",
      "response_fields",
      "response_fields",
      "response_fields",
      "response_fields.set",
    ]);
  });

  test("has the same bytes however it was written", () => {
    const one = { endpointId: "r1", host: "127.0.0.1", port: 20_000, state: ACTIVE };
    const two = { endpointId: "r2", host: "127.0.0.1", port: 20_001, state: DRAINING };
    const routes = [{ path: "/a", methods: ["POST", "GET"] }, { path: "/b" }];
    const written = entry({ endpoints: [one, two], routes, ports: [5432, 80], vip: "1.2.3.4" });
    const otherwise = entry({
      endpoints: [two, { ...one, weight: 1000 }],
      routes: [{ path: "/b" }, { path: "/a", methods: ["GET", "POST", "GET"] }],
      ports: [5432],
      policy: { retries: 1 },
    });
    expect(bytes(written)).toEqual(bytes(otherwise));
  });

  test("is not changed by being read", () => {
    const given = entry({ endpoints: [{ endpointId: "b" }, { endpointId: "a" }] });
    expect(() => normalPicture(given)).toThrow();
    expect(given.endpoints.map(({ endpointId }) => endpointId)).toEqual(["b", "a"]);
  });

  test("is refused with all of its problems at once", () => {
    const bad = entry({
      environment: "Prod!",
      name: "",
      ports: [0],
      endpoints: [
        { endpointId: "r1", host: "127.0.0.1", port: 1, state: ACTIVE },
        { endpointId: "r1", host: "", port: 70_000, weight: -1, revision: -1n },
      ],
      routes: [{ path: "receipt", methods: ["get"] }, { path: "/a/{x}" }, { path: "/a/{y}", methods: ["GET"] }],
      policy: { requestTimeoutMs: -1n, connectTimeoutMs: 99_999_999n, retries: 11 },
    });
    let fields: string[] = [];
    try {
      normalPicture(bad);
    } catch (error) {
      fields = (error as { details: { fieldViolations: { field: string }[] } }).details.fieldViolations.map(
        ({ field }) => field,
      );
    }
    expect(fields.sort()).toEqual(
      [
        "service.environment",
        "service.name",
        "service.ports",
        "service.endpoints[1].endpoint_id",
        "service.endpoints[1].host",
        "service.endpoints[1].port",
        "service.endpoints[1].state",
        "service.endpoints[1].weight",
        "service.endpoints[1].revision",
        "service.routes[0].methods",
        "service.routes[0].path",
        "service.routes[2]",
        "service.policy.request_timeout_ms",
        "service.policy.connect_timeout_ms",
        "service.policy.retries",
      ].sort(),
    );
  });

  test("is refused if there is none", () => {
    expect(() => normalPicture(undefined)).toThrow(/service.environment: .*service.name: /s);
  });
});

describe("routes of two services", () => {
  const holder = entry({ name: "payment", routes: [{ path: "/pay/{id}", methods: ["GET", "POST"] }] });

  test("conflict on the same pattern with a common method, and the conflict names the other service", () => {
    const candidate = entry({ routes: [{ path: "/x" }, { path: "/pay/{ref}", methods: ["POST"] }] });
    expect(findRouteConflict(candidate, [holder])).toMatchObject({
      route: "POST /pay/{ref}",
      holder: { name: "payment" },
    });
  });

  test("do not conflict with other methods, in another environment, or with the service itself", () => {
    const put = [{ path: "/pay/{id}", methods: ["PUT"] }];
    expect(findRouteConflict(entry({ routes: put }), [holder])).toBeUndefined();
    const same = [{ path: "/pay/{id}" }];
    expect(findRouteConflict(entry({ environment: "staging", routes: same }), [holder])).toBeUndefined();
    expect(findRouteConflict(entry({ name: "payment", routes: same }), [holder])).toBeUndefined();
  });
});

import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { expect, test } from "vitest";
import { publicRoutes } from "./public-routes.ts";

const contentOf = (routes: Parameters<typeof create<typeof mesh.RouteSchema>>[1][]) =>
  create(mesh.SnapshotContentSchema, {
    services: [
      { environment: "default", name: "shop", routes: routes.map((route) => create(mesh.RouteSchema, route)) },
    ],
  });
const told = (content: mesh.SnapshotContent | undefined, auth: "public" | "required" = "public") =>
  publicRoutes(content, auth)[0]?.finding;

test("routes that everybody may call are named, those that ask who calls are not", () => {
  const routes = [{ path: "/a", methods: ["GET", "POST"] }, { path: "/b/*" }, { path: "/c", auth: {} }];
  expect(told(contentOf(routes))).toMatch(
    /^everybody may call default\/shop GET,POST \/a, default\/shop \/b\/\*; manif/,
  );
  expect(told(contentOf([{ path: "/c", auth: { optional: true } }]), "required")).toBe(
    "none; manifests that do not say auth ask for it (--routes-default-auth required)",
  );
  expect(told(undefined)).toMatch(/^none; manifests that do not say auth open their routes/);
});

test("many are counted", () => {
  const many = Array.from({ length: 23 }, (_, index) => ({ path: `/r${index}` }));
  expect(told(contentOf(many))).toContain("default/shop /r19 and 3 more;");
});

import { expect, it } from "vitest";
import { manifestDiff } from "./manifest-diff.ts";
import type { Manifest } from "./manifest-schema.ts";
import { parseManifest } from "./parse-manifest.ts";
import { SMALLEST } from "./testing.ts";

const read = (more: string) => parseManifest(SMALLEST + more);

it("finds nothing between equal manifests, however they are written", () => {
  expect(manifestDiff(read("stop_grace: 60s"), read("stop_grace: 1m"))).toEqual([]);
  expect(manifestDiff(read("routes: [{path: /a}, {path: /b}]"), read("routes:\n- path: /b\n- path: /a\n"))).toEqual([]);
  expect(manifestDiff(read("health: {tcp: true}"), read(""))).toEqual([]);
});

it("names keys and values as manifests write them", () => {
  const before = read("scaling: {min: 1}\nresources: {memory: 256Mi}\nrollout: {max_surge: 1}");
  const after = read(
    "scaling: {min: 2}\nresources: {cpu: 0.5}\nhealth: {http: /up, start_timeout: 90s}\nport: 80\nenv: {A: '', B: x}",
  );
  expect(manifestDiff(before, after)).toEqual([
    { key: "port", before: "", after: "80" },
    { key: "scaling.min", before: "1", after: "2" },
    { key: "health.http", before: "", after: "/up" },
    { key: "health.start_timeout", before: "30s", after: "1m30s" },
    { key: "rollout.max_surge", before: "1", after: "25%" },
    { key: "resources.cpu", before: "", after: "0.5" },
    { key: "env.A", before: "", after: '""' },
    { key: "env.B", before: "", after: "x" },
    { key: "resources.memory", before: "256Mi", after: "" },
  ]);
});

it("compares routes by path", () => {
  const before = read("routes: [{path: /a, methods: [GET]}, {path: /b}]");
  const after = read("routes: [{path: /a, methods: [GET, POST]}, {path: /c}]");
  expect(manifestDiff(before, after)).toEqual([
    { key: "routes[/a]", before: "GET", after: "GET, POST" },
    { key: "routes[/c]", before: "", after: "all methods" },
    { key: "routes[/b]", before: "all methods", after: "" },
  ]);
});

it("shows what is demanded of a route, and steps of a canary, each item by its place", () => {
  const before = read("routes: [{path: /a}, {path: /b, auth: required, limits: [{rate: 10/s}]}]");
  const after = read(
    "routes: [{path: /a, auth: required, roles: [admin]}, {path: /b, limits: [{rate: 20/s}]}]\nrollout: {strategy: canary, steps: [{share: 1%}, {share: 50%, hold: 5m}]}",
  );
  expect(manifestDiff(before, after)).toEqual([
    { key: "routes[/a].auth", before: "", after: "required" },
    { key: "routes[/a].roles[0]", before: "", after: "admin" },
    { key: "routes[/b].limits[0].rate", before: "10/s", after: "20/s" },
    { key: "rollout.strategy", before: "rolling", after: "canary" },
    { key: "rollout.steps[0].share", before: "", after: "1%" },
    { key: "rollout.steps[0].hold", before: "", after: "1m" },
    { key: "rollout.steps[1].share", before: "", after: "50%" },
    { key: "rollout.steps[1].hold", before: "", after: "5m" },
    { key: "routes[/b].auth", before: "required", after: "" },
  ]);
});

it("shows of a new service what differs from the defaults", () => {
  expect(manifestDiff(undefined, read("scaling: {min: 2, max: 10}\nroutes: [{path: /a}]"))).toEqual([
    { key: "name", before: "", after: "receipt-svc" },
    { key: "run.command", before: "", after: "node index.js" },
    { key: "routes[/a]", before: "", after: "all methods" },
    { key: "scaling.min", before: "", after: "2" },
    { key: "scaling.by", before: "", after: "concurrency" },
  ]);
});

it("masks variables whose names smell of a secret, and says that they changed", () => {
  const names = [
    "API_KEY",
    "KEY",
    "DB_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "gh_token",
    "DSN",
    "AUTH",
    "COOKIE_SALT",
    "DB_PASS",
  ];
  const variables = (value: string) => `env: {${names.map((name) => `${name}: ${value}`).join(", ")}}`;
  const changes = manifestDiff(read(variables("hush-1")), read(variables("hush-2")));
  expect(changes.map(({ key }) => key)).toEqual(names.map((name) => `env.${name}`));
  for (const { before, after } of changes) expect([before, after]).toEqual(["***", "*** (changed)"]);
  expect(JSON.stringify(manifestDiff(undefined, read(variables("hush-3"))))).not.toContain("hush");
});

it("masks passwords in addresses", () => {
  const [change] = manifestDiff(read(""), read("env: {DATABASE_URL: 'postgres://u:hush@db/x'}"));
  expect(change).toEqual({ key: "env.DATABASE_URL", before: "", after: "postgres://u:***@db/x" });
});

it("shows what does not smell, and cuts what is long", () => {
  const [monkey] = manifestDiff(read(""), read("env: {MONKEY: banana}"));
  expect(monkey?.after).toBe("banana");
  const [before, after] = ["1", "2"].map((end) => read(`env: {A: ${"x".repeat(300)}${end}}`));
  const [change] = manifestDiff(before, after as Manifest);
  expect(change?.after).toBe(`${"x".repeat(200)}… (changed)`);
});

it("reads a manifest that an earlier version stored with fewer keys as if it had the defaults", () => {
  const { mesh: _mesh, rollout: _rollout, ...earlier } = read("");
  expect(manifestDiff(earlier as Manifest, read(""))).toEqual([]);
});

it("survives being stored as JSON", () => {
  const manifest = read("resources: {memory: 1Gi}\nrollout: {max_surge: 2}");
  expect(manifestDiff(JSON.parse(JSON.stringify(manifest)) as Manifest, manifest)).toEqual([]);
});

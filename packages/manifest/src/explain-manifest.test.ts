import { expect, it } from "vitest";
import { explainManifest, formatExplanation } from "./explain-manifest.ts";

it("explains the whole manifest by its top-level keys", () => {
  const { children } = explainManifest();
  expect(children.map(({ key }) => key)).toEqual([
    "name",
    "version",
    "needs",
    "run",
    "port",
    "routes",
    "scaling",
    "health",
    "rollout",
    "gates",
    "hooks",
    "stop_grace",
    "resources",
    "env",
    "secrets",
    "mesh",
  ]);
});

it("explains one key with type, default, limits and example", () => {
  expect(explainManifest("scaling.min")).toEqual({
    key: "scaling.min",
    description:
      "The fewest replicas. A first deploy starts so many. 0: without a request for a while there are none, and the next request starts one and waits for it.",
    type: "whole number",
    required: false,
    default: "1",
    limits: "0 to 500",
    example: "2",
    children: [],
  });
  expect(explainManifest("name")).toMatchObject({ required: true });
});

it("explains a group, a list's items and a named value", () => {
  expect(explainManifest("mesh").children.map(({ key }) => key)).toContain("mesh.retry");
  for (const path of ["routes.path", "routes[].path", "routes[0].path"]) {
    expect(explainManifest(path)).toMatchObject({ key: "routes.path", required: true });
  }
  expect(explainManifest("env.REGION")).toMatchObject({ key: "env.NAME", type: "text" });
});

it.each([
  ["scalling", /no key "scalling"\. Did you mean scaling\?/],
  ["scaling.mn", /Did you mean scaling\.min\?/],
  ["replicas", /What you look for is called scaling\.min/],
  ["name.x", /none below it/],
  ["__proto__", /Possible are name/],
  ["constructor", /no key "constructor"/],
  ["a\u001b[31m", /no key "a\\u001b/],
])("refuses %j with what to do", (path, message) => {
  expect(() => explainManifest(path)).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  expect(() => explainManifest(path)).toThrow(message);
});

it("says of a later version's key what to do until then", () => {
  expect(() => explainManifest("image")).toThrow(expect.objectContaining({ code: "UNIMPLEMENTED" }));
  expect(() => explainManifest("image")).toThrow(/cannot do image yet\. .*run/);
});

it("is readable in a terminal", () => {
  expect(formatExplanation(explainManifest("rollout.max_surge"))).toBe(`rollout.max_surge
  How many replicas may run beyond the wanted number while versions change: a share of it, rounded up, or a number.

  type      share (25%) or whole number
  default   25%
  limits    1% to 100%, or 1 to 500
  example   1
`);
  const group = formatExplanation(explainManifest("scaling"));
  expect(group).toContain("  scaling.min                The fewest replicas\n");
  expect(formatExplanation(explainManifest())).toMatch(/^manifest\n/);
});

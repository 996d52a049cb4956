import { describe, expect, it } from "vitest";
import { BodyEdit, isJsonType } from "./body-changes.ts";
import { rewrittenTarget } from "./path-rewrite.ts";
import type { BodyChanges } from "./route-rules.ts";

const none: BodyChanges = { rename: {}, remove: [], add: {}, wrap: "", maxBytes: 1000 };
const edited = (changes: Partial<BodyChanges>, body: string | Buffer) => {
  const outcome = new BodyEdit({ ...none, ...changes }).apply(Buffer.from(body));
  return "bytes" in outcome ? outcome.bytes.toString() : outcome.problem;
};

describe("changes of a body", () => {
  it.each<[Partial<BodyChanges>, string, string]>([
    [{ remove: ["b"] }, '{"a":1,"b":2}', '{"a":1}'],
    [{ remove: ["b"] }, '{"b":1,"a":{"b":2},"b":3}', '{"a":{"b":2}}'],
    [
      { remove: ["user.password"] },
      '[{"user":{"password":"x","id":1}},{"user":null},7]',
      '[{"user":{"id":1}},{"user":null},7]',
    ],
    [{ rename: { "user.mail": "email" } }, '{"user":{"mail":"m"},"mail":"n"}', '{"user":{"email":"m"},"mail":"n"}'],
    [{ rename: { a: "b" } }, '{"b":1}', '{"b":1}'],
    [{ remove: ["b"], rename: { a: "b" }, add: { c: '"x"' } }, '{"a":1,"b":2,"c":3}', '{"c":"x","b":1}'],
    [{ add: { "deep.x": "1" } }, '{"deep":{},"other":{}}', '{"deep":{"x":1},"other":{}}'],
    [{ wrap: "data" }, "[1]", '{"data":[1]}'],
    [{ wrap: "data" }, "null", '{"data":null}'],
    [{ remove: ["x"] }, '"text"', '"text"'],
  ])("%j make of %s %s", (changes, body, expected) => {
    expect(edited(changes, body)).toBe(expected);
  });

  it("leave numbers as they are written, however long, and nothing else of a program's own sense", () => {
    const body =
      '{"id":12345678901234567890,"ratio":0.1000000000000000055511151231257827,"huge":1e400,"small":1.5,"x":{"rawJSON":1}}';
    expect(edited({ remove: ["none"] }, body)).toBe(body);
    expect(edited({ remove: ["id.x"] }, '{"id":12345678901234567890}')).toBe('{"id":12345678901234567890}');
  });

  it.each([
    ["", /^is not JSON/],
    ["{", /^is not JSON/],
    ["{'a':1}", /^is not JSON/],
    ['{"a":1}{"b":2}', /^is not JSON/],
    [Buffer.from([0x22, 0xff, 0x22]), /^is not JSON/],
    ["[".repeat(600) + "]".repeat(600), /nested/],
    ["[".repeat(100_000) + "]".repeat(100_000), /nested|not JSON/],
  ])("are not made of what cannot be read: %#", (body, problem) => {
    expect(edited({ remove: ["a"] }, body)).toMatch(problem);
  });

  it("reach no prototype", () => {
    expect(edited({ add: { polluted: '"yes"' } }, '{"__proto__":{"admin":true},"constructor":{"prototype":{}}}')).toBe(
      '{"__proto__":{"admin":true},"constructor":{"prototype":{}},"polluted":"yes"}',
    );
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(edited({ add: { "constructor.prototype.polluted": '"yes"' } }, "{}")).toBe("{}");
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

it.each([
  ["application/json", true],
  ["Application/JSON; charset=utf-8", true],
  ["application/problem+json", true],
  ["text/event-stream", false],
  ["application/grpc", false],
  ["application/x-ndjson", false],
  ["application/jsonp", false],
  ["", false],
])("%j says JSON: %s", (type, is) => {
  expect(isJsonType(type)).toBe(is);
});

it.each([
  ["/api/v1/orders?x=1", "/api/v1", "", "/orders?x=1"],
  ["/api/v1", "/api/v1", "", "/"],
  ["/api/v1?x", "/api/v1", "/v1", "/v1/?x"],
  ["/api/v1", "/api/v1", "/v1", "/v1"],
  ["/api/v1/", "/api/v1", "/v1", "/v1/"],
  ["/api/v10/a", "/api/v1", "", "/api/v10/a"],
  ["/api/v1//evil.example/x", "/api/v1", "", "/evil.example/x"],
  ["/orders/1", "", "/v2", "/v2/orders/1"],
])("%s without %j behind %j is %s", (target, strip, add, expected) => {
  expect(rewrittenTarget(target, { strip, add })).toBe(expected);
});

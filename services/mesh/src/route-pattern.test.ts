import { describe, expect, test } from "vitest";
import { claimsOverlap, parsePath } from "./route-pattern.ts";

describe("a route's path", () => {
  test.each([
    ["/", "/"],
    ["/receipt", "/receipt"],
    ["/receipt/", "/receipt/"],
    ["/users/{id}", "/users/{}"],
    ["/users/{id}/orders/{order_id}", "/users/{}/orders/{}"],
    ["/files/*", "/files/*"],
    ["/*", "/*"],
    ["/a%20b/~x@y:z", "/a%20b/~x@y:z"],
  ])("%s is read as %s", (path, pattern) => {
    expect(parsePath(path)).toEqual({ pattern });
  });

  test.each([
    ["receipt", 'write "/receipt"'],
    ["", "does not begin with a slash"],
    ["/a//b", "two slashes in a row"],
    ["/a/../b", "write the path it leads to"],
    ["/*/b", "write {name} for one segment"],
    ["/a/b*", 'the segment "b*"'],
    ["/users/{}", "{name}"],
    ["/users/{id}.json", "{name}"],
    ["/a?b=1", "plain characters"],
    ["/a b", "plain characters"],
    ["/{id}/{id}", "{id} twice"],
    [`/${"x".repeat(600)}`, "longer than 512"],
  ])("%s is refused with a remedy", (path, words) => {
    expect(parsePath(path)).toEqual({ problem: expect.stringContaining(words) });
  });
});

describe("two routes", () => {
  test("overlap if pattern and a method are the same, whatever the variables are called", () => {
    const get = { pattern: "/users/{}", methods: ["GET"] };
    expect(claimsOverlap(get, { pattern: "/users/{}", methods: [] })).toBe(true);
    expect(claimsOverlap(get, { pattern: "/users/{}", methods: ["GET", "POST"] })).toBe(true);
    expect(claimsOverlap(get, { pattern: "/users/{}", methods: ["POST"] })).toBe(false);
    expect(claimsOverlap(get, { pattern: "/users/*", methods: ["GET"] })).toBe(false);
  });
});

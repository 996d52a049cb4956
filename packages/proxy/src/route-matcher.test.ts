import { describe, expect, it } from "vitest";
import { RouteMatcher } from "./route-matcher.ts";

function matcher(...routes: [path: string, methods: string[], target: string][]) {
  return new RouteMatcher(routes.map(([path, methods, target]) => ({ path, methods, target })));
}

function found(target: string) {
  return { kind: "found", target };
}

describe("RouteMatcher", () => {
  it("takes an exact path only as it is written", () => {
    const routes = matcher(["/receipt", [], "a"]);
    expect(routes.match("/receipt", "GET")).toEqual(found("a"));
    for (const path of ["/receipt/", "/receipts", "/", "/receipt/1", "/Receipt"]) {
      expect(routes.match(path, "GET")).toEqual({ kind: "no-path" });
    }
  });

  it("lets a parameter stand for one segment that is not empty", () => {
    const routes = matcher(["/users/{id}", [], "a"], ["/users/{id}/cards/{card}", [], "b"]);
    expect(routes.match("/users/7", "GET")).toEqual(found("a"));
    expect(routes.match("/users/7/cards/9", "GET")).toEqual(found("b"));
    for (const path of ["/users", "/users/", "/users/7/", "/users/7/cards"]) {
      expect(routes.match(path, "GET")).toEqual({ kind: "no-path" });
    }
  });

  it("lets a wildcard stand for everything below, not for the folder itself", () => {
    const routes = matcher(["/files/*", [], "a"]);
    expect(routes.match("/files/a", "GET")).toEqual(found("a"));
    expect(routes.match("/files/a/b/c", "GET")).toEqual(found("a"));
    expect(routes.match("/files/", "GET")).toEqual(found("a"));
    expect(routes.match("/files", "GET")).toEqual({ kind: "no-path" });
    expect(matcher(["/*", [], "all"]).match("/", "GET")).toEqual(found("all"));
  });

  it("prefers exact to parameter to wildcard, and the longest wildcard", () => {
    const routes = matcher(
      ["/*", [], "root"],
      ["/users/*", [], "below"],
      ["/users/{id}", [], "one"],
      ["/users/me", [], "me"],
      ["/users/{id}/x/*", [], "long"],
    );
    expect(routes.match("/users/me", "GET")).toEqual(found("me"));
    expect(routes.match("/users/1", "GET")).toEqual(found("one"));
    expect(routes.match("/users/1/y", "GET")).toEqual(found("below"));
    expect(routes.match("/users/1/x/y", "GET")).toEqual(found("long"));
    expect(routes.match("/else", "GET")).toEqual(found("root"));
  });

  it("allows HEAD where GET is allowed, and names what is allowed where nothing fits", () => {
    const routes = matcher(["/a", ["GET"], "get"], ["/a", ["post"], "post"], ["/b", ["DELETE"], "b"]);
    expect(routes.match("/a", "HEAD")).toEqual(found("get"));
    expect(routes.match("/a", "POST")).toEqual(found("post"));
    expect(routes.match("/a", "PUT")).toEqual({ kind: "no-method", allow: "GET, HEAD, POST" });
    expect(routes.match("/b", "GET")).toEqual({ kind: "no-method", allow: "DELETE" });
  });

  it("goes on to a wider path when a closer one does not take the method", () => {
    const routes = matcher(["/users/{id}", ["GET"], "one"], ["/users/*", ["POST"], "any"]);
    expect(routes.match("/users/1", "POST")).toEqual(found("any"));
    expect(routes.match("/users/1", "PUT")).toEqual({ kind: "no-method", allow: "GET, HEAD, POST" });
  });

  it("refuses paths of no known form, saying which forms there are", () => {
    for (const path of ["receipt", "/a/{b", "/a/*/b", "/a?b", "/{}", "/a b"]) {
      expect(() => matcher([path, [], "a"])).toThrow(/cannot be used.*"\/receipt"/);
    }
  });
});

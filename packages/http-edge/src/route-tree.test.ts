import { describe, expect, test } from "vitest";
import { parsePathTemplate } from "./path-template.ts";
import { RouteTree } from "./route-tree.ts";

function treeOf(...routes: string[]): RouteTree<string> {
  const tree = new RouteTree<string>();
  for (const route of routes) {
    const [method = "", path = ""] = route.split(" ");
    tree.add(parsePathTemplate(path), method, route);
  }
  return tree;
}

function found(tree: RouteTree<string>, path: string, method = "GET") {
  const match = tree.match(path, method);
  return match.kind === "found" ? match.target : match.kind === "no-method" ? match.allowed : undefined;
}

describe("a route tree", () => {
  const tree = treeOf(
    "GET /v1/{name=**}",
    "GET /v1/books/*",
    "GET /v1/books/new",
    "GET /v1/{any}/new",
    "GET /v1/books/*/pages/*",
    "POST /v1/books/*:burn",
    "* /any/{x}",
    "DELETE /any/{x}",
  );

  test.each([
    ["/v1/books/new", "GET /v1/books/new"],
    ["/v1/books/old", "GET /v1/books/*"],
    ["/v1/shelves/new", "GET /v1/{any}/new"],
    ["/v1/shelves/old", "GET /v1/{name=**}"],
    ["/v1/books/1/pages/2", "GET /v1/books/*/pages/*"],
    ["/v1/books/1/pages", "GET /v1/{name=**}"],
    ["/v1", "GET /v1/{name=**}"],
    ["/v1/books/a:b", "GET /v1/books/*"],
    ["/any/1", "* /any/{x}"],
    ["/v2", undefined],
    ["*", undefined],
  ])("prefers what is more exact, and goes back where that leads nowhere: %s", (path, route) => {
    expect(found(tree, path)).toBe(route);
  });

  test("finds a verb only with its method, else a name with a colon", () => {
    expect(found(tree, "/v1/books/1:burn", "POST")).toBe("POST /v1/books/*:burn");
    expect(found(tree, "/v1/books/1:burn", "GET")).toBe("GET /v1/books/*");
    expect(found(tree, "/v1/books/1:burn", "PUT")).toEqual(["GET", "POST"]);
  });

  test("prefers a stated method over any", () => {
    expect(found(tree, "/any/1", "DELETE")).toBe("DELETE /any/{x}");
    expect(found(tree, "/any/1", "BREW")).toBe("* /any/{x}");
  });

  test("lets an exact path of another method stand back for a wildcard of this one", () => {
    const own = treeOf("POST /v1/books/new", "GET /v1/books/*");
    expect(found(own, "/v1/books/new")).toBe("GET /v1/books/*");
    expect(found(own, "/v1/books/new", "PUT")).toEqual(["GET", "POST"]);
  });

  test("keeps the first of two equal shapes and names it", () => {
    const own = treeOf("GET /v1/{a}/x");
    expect(own.add(parsePathTemplate("/v1/{b=*}/x"), "GET", "second")).toBe("GET /v1/{a}/x");
    expect(own.add(parsePathTemplate("/v1/{b=*}/x"), "PUT", "third")).toBeUndefined();
  });

  test("takes no time that grows with anything but the path", () => {
    const own = treeOf(...Array.from({ length: 12 }, (_, n) => `GET ${"/*".repeat(n)}${"/a".repeat(12 - n)}/end`));
    expect(found(own, `${"/a".repeat(12)}/other`)).toBeUndefined();
    expect(found(own, `${"/b".repeat(11)}/a/end`)).toBe(`GET ${"/*".repeat(11)}/a/end`);
  });
});

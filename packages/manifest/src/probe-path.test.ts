import { expect, test } from "vitest";
import { isProbeMethod, readGveProbe } from "./probe-path.ts";

test.each(["/values", "/values?deep=1", "demo.shop.v1.ShopService/Values", "a.B/c"])("%s is a GVE probe", (text) => {
  expect(readGveProbe(text)).toEqual({ value: text });
  expect(isProbeMethod(text)).toBe(!text.startsWith("/"));
});

test.each([
  ["values", /neither a path nor a method.*ShopService\/Values/],
  ["ShopService/Values", /neither a path nor a method/],
  ["demo.shop.v1.ShopService", /neither a path nor a method/],
  ["demo.shop.v1.ShopService/Values/more", /neither a path nor a method/],
  ["http://host/values", /whole address/],
  ["/values#here", /characters that a path cannot have/],
])("%s is none: what to write is said", (text, problem) => {
  expect(readGveProbe(text)).toMatchObject({ problem: expect.stringMatching(problem) });
});

import { describe, expect, test } from "vitest";
import { checkServerId, spiffeIdIn } from "./tls-identity.ts";

const ID = "spiffe://hms.example/env/default/svc/a";

describe("a SPIFFE id", () => {
  test.each([[`URI:${ID}`], [`DNS:localhost, URI:${ID}, IP Address:127.0.0.1`], [`DNS:"a, b", URI:${ID}`]])(
    "is found in %s",
    (names) => {
      expect(spiffeIdIn(names)).toBe(ID);
    },
  );

  test.each([
    ["no names", undefined],
    ["another name only", "DNS:localhost"],
    ["a name that looks like another's id", `DNS:"x, URI:${ID}, y"`],
    ["a quote that does not end", `DNS:"x, URI:${ID}`],
    ["two ids", `URI:${ID}, URI:${ID}2`],
    ["an id and another URI", `URI:${ID}, URI:https://hms.example`],
    ["an id without a path", "URI:spiffe://hms.example"],
    ["a trust domain in capitals", "URI:spiffe://HMS/a"],
    ["an id with a query", `URI:${ID}?a=b`],
  ])("is not found in %s", (_, names) => {
    expect(spiffeIdIn(names)).toBeUndefined();
  });

  test("is what a server is judged by", () => {
    expect(checkServerId(`URI:${ID}`, undefined)).toBeUndefined();
    expect(checkServerId(`URI:${ID}`, ID)).toBeUndefined();
    expect(checkServerId(`URI:${ID}`, `${ID}2`)).toMatchObject({ code: "UNAUTHENTICATED" });
    expect(checkServerId("DNS:localhost", undefined)).toMatchObject({ code: "UNAUTHENTICATED" });
  });
});

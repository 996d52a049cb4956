import { expect, test } from "vitest";
import { narrowed, scopesOf } from "./grant-scopes.ts";

const grant = {
  accountId: "a",
  clientId: "app-1",
  openid: { scope: "openid offline_access" },
  resources: { "urn:hms:test": "services:read services:deploy" },
};
const namesOf = (of: Parameters<typeof scopesOf>[0]) => {
  const { held, withdrawn } = scopesOf(of);
  return [[...held], [...withdrawn]];
};

test("a grant loses the scopes that are taken away, of who somebody is and of permissions, and nothing else", () => {
  const less = narrowed(grant, new Set(["services:deploy", "offline_access"]));
  expect(namesOf(less)).toEqual([
    ["openid", "services:read"],
    ["offline_access", "services:deploy"],
  ]);
  expect(less).toMatchObject({ accountId: "a", clientId: "app-1" });
  expect(namesOf(grant)).toEqual([["openid", "offline_access", "services:read", "services:deploy"], []]);
});

test("what is taken away twice, or was never there, adds nothing", () => {
  const less = narrowed(grant, new Set(["services:deploy", "hms", ""]));
  expect(narrowed(less, new Set(["services:deploy", "users:read"]))).toEqual(less);
  expect(scopesOf(less).held.has("hms")).toBe(false);
});

test("what was taken away counts, also where a grant still names it", () => {
  const both = { ...grant, rejected: { resources: { "urn:hms:test": "services:read" } } };
  expect(scopesOf(both).held.has("services:read")).toBe(false);
});

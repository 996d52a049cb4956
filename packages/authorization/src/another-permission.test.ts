import type { MethodEntry, Principal } from "@hms/kernel";
import { expect, test } from "vitest";
import { createAccessPolicy, PolicyBook } from "./index.ts";

const deploy = {
  desc: { name: "Deploy", parent: { file: { proto: { package: "hms.sys.deployment.v1" } } } },
  rule: { permission: "services:deploy" },
} as unknown as MethodEntry;

test("what a method looks at beside its own permission is decided by itself, whatever was decided before", () => {
  const book = new PolicyBook();
  book.replace("file", []);
  book.replace("stored", []);
  const policy = createAccessPolicy(book);
  const dora: Principal = { kind: "user", id: "dora", roles: ["developer"] };
  const may = (permission: string) =>
    policy.decide({ principal: dora, method: deploy, permission, resource: "a", environment: "default" }).allowed;
  expect(["services:deploy", "services:freeze", "services:deploy"].map(may)).toEqual([true, false, true]);
  // Nor is it remembered for the method itself.
  const viewer: Principal = { kind: "user", id: "vera", roles: ["viewer"] };
  const asked = { principal: viewer, method: deploy, resource: "a", environment: "default" };
  expect(policy.decide({ ...asked, permission: "services:read" }).allowed).toBe(true);
  expect(policy.decide({ ...asked, permission: "services:deploy" }).allowed).toBe(false);
});

import type { MethodEntry, Principal } from "@hms/kernel";
import { expect, test } from "vitest";
import { createAccessPolicy, PolicyBook } from "./index.ts";

const deploy = {
  desc: { name: "Deploy", parent: { file: { proto: { package: "hms.sys.deployment.v1" } } } },
  rule: { permission: "services:deploy" },
} as unknown as MethodEntry;

test("what a method looks at beside its own permission is decided by itself, whatever was decided before", async () => {
  const book = new PolicyBook();
  book.replace("file", []);
  book.replace("stored", []);
  const policy = createAccessPolicy(book);
  const dora: Principal = { kind: "user", id: "dora", roles: ["developer"] };
  const may = async (principal: Principal, permission: string) =>
    (await policy.decide({ principal, method: deploy, permission, resource: "a", environment: "default" })).allowed;
  const asked = ["services:deploy", "services:freeze", "services:deploy"].map((permission) => may(dora, permission));
  expect(await Promise.all(asked)).toEqual([true, false, true]);
  // Nor is it remembered for the method itself.
  const viewer: Principal = { kind: "user", id: "vera", roles: ["viewer"] };
  expect(await may(viewer, "services:read")).toBe(true);
  expect(await may(viewer, "services:deploy")).toBe(false);
});

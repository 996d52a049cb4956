import { readFileSync } from "node:fs";
import * as contracts from "@hms/contracts";
import { expect, test } from "vitest";
import { eventCode } from "./index.ts";

/** Every method of the platform that leaves events, by its name. */
function methods(): string[] {
  const services = Object.values(contracts).flatMap((module) =>
    Object.values(module as Record<string, unknown>).flatMap((value) =>
      isService(value) && value.typeName.startsWith("hms.") ? [value] : [],
    ),
  );
  return services.flatMap(({ typeName, methods }) => methods.map(({ name }) => `${typeName}/${name}`));
}

const isService = (value: unknown): value is { kind: "service"; typeName: string; methods: { name: string }[] } =>
  typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === "service";

test("a code is the domain, the service if it is called differently, and what was done", () => {
  expect(eventCode("hms.sys.deployment.v1.DeploymentService/Deploy")).toBe("deployment.deploy");
  expect(eventCode("hms.identity.v1.APIKeyService/CreateKeyV2")).toBe("identity.api-key.create-key-v2");
  expect(eventCode("hms.identity.v1.SignIn/LockOut")).toBe("identity.sign-in.lock-out");
  expect(eventCode("edge:/sign-in")).toBe("");
});

test("the guide lists the code of every method of the platform, and no two have the same", () => {
  const expected = methods().map((method) => `| \`${eventCode(method)}\` | \`${method}\` |`);
  expect(new Set(expected.map((line) => line.split("`")[1])).size).toBe(expected.length);
  const text = readFileSync(new URL("../../../docs/security/audit-codes.md", import.meta.url), "utf8");
  const listed = text.split("\n").filter((line) => /^\| `.*Service\/\w+` \|$/.test(line));
  expect(listed).toEqual(expected.sort());
});

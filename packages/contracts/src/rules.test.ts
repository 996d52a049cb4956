import type { DescService } from "@bufbuild/protobuf";
import { getOption, hasOption } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import * as contracts from "./index.ts";

const services = Object.values(contracts)
  .flatMap((module) => Object.values(module) as { kind?: string }[])
  .filter((desc): desc is DescService => desc.kind === "service")
  // Contracts of others follow their own rules.
  .filter(({ typeName }) => typeName.startsWith("hms."));

test("there are services to check", () => {
  expect(services.map((service) => service.typeName)).toContain("hms.sys.mesh.v1.MeshService");
});

test.each(
  services.flatMap((service) =>
    service.methods.map((method) => ({ name: `${service.typeName}/${method.name}`, method })),
  ),
)("$name carries a complete rule", ({ method }) => {
  expect(hasOption(method, contracts.ffiOptions.rule)).toBe(true);
  const rule = getOption(method, contracts.ffiOptions.rule);
  expect(rule.permission).toMatch(/^[a-z-]+:[a-z-]+$/);
  expect(rule.auditLevel).not.toBe(contracts.ffiOptions.AuditLevel.UNSPECIFIED);
  expect(rule.idempotency).not.toBe(contracts.ffiOptions.Idempotency.UNSPECIFIED);
  if (rule.resourceField === "") return;
  let message = method.input;
  for (const part of rule.resourceField.split(".")) {
    const field = message.fields.find((candidate) => candidate.name === part);
    expect(field, `${rule.resourceField} in ${message.typeName}`).toBeDefined();
    if (field?.message) message = field.message;
  }
});

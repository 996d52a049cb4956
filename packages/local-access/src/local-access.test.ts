import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { anonymous, componentPrincipal, type MethodEntry } from "@hms/kernel";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLocalPolicy, createTokenIdentity, ensureToken, readToken } from "./index.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hms-token-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a token file", () => {
  test("is made once, only for its owner, and stays the same", () => {
    const file = join(folder, "deep", "operator.token");
    const token = ensureToken(file);
    expect(token).toMatch(/^[0-9a-f]{64}$/);
    expect(ensureToken(file)).toBe(token);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "deep")).mode & 0o777).toBe(0o700);
  });

  test("that holds something else is refused with a remedy", () => {
    const file = join(folder, "t");
    writeFileSync(file, "hello\n");
    expect(() => readToken(file)).toThrow(/Delete it/);
  });
});

describe("a token identity", () => {
  const operator = { kind: "operator", id: "operator" } as const;
  const identity = createTokenIdentity([
    ["a".repeat(64), operator],
    ["b".repeat(64), componentPrincipal("dataplane")],
  ]);

  test("knows who shows which token", () => {
    expect(identity.authenticate({ transport: "socket", token: "a".repeat(64) })).toBe(operator);
    expect(identity.authenticate({ transport: "socket", token: "b".repeat(64) })).toMatchObject({ id: "dataplane" });
    expect(identity.authenticate({ transport: "socket" })).toBe(anonymous);
  });

  test("refuses a token that nobody has", () => {
    expect(() => identity.authenticate({ transport: "socket", token: "c" })).toThrow(
      expect.objectContaining({ code: "UNAUTHENTICATED" }),
    );
  });
});

describe("the local policy", () => {
  const policy = createLocalPolicy({ dataplane: ["mesh:read"], server: ["*"] });
  const allowed = (principal: Parameters<typeof policy.decide>[0]["principal"], permission: string) =>
    (policy.decide({ principal, permission, resource: "", method: {} as MethodEntry }) as { allowed: boolean }).allowed;

  test("lets the operator do everything and nobody else more than granted", () => {
    expect(allowed({ kind: "operator", id: "operator" }, "services:delete")).toBe(true);
    expect(allowed(componentPrincipal("dataplane"), "mesh:read")).toBe(true);
    expect(allowed(componentPrincipal("dataplane"), "services:delete")).toBe(false);
    expect(allowed(componentPrincipal("server"), "agent:run")).toBe(true);
    expect(allowed(componentPrincipal("operator"), "mesh:read")).toBe(false);
    expect(allowed(anonymous, "mesh:read")).toBe(false);
  });
});

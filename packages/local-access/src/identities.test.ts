import { createHash } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { anonymous, type HmsError, type Principal } from "@hms/kernel";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createPeerPrincipals, createTokenIdentity, createWorkloadTokens, type KeyFile, openKeyFile } from "./index.ts";

const payment = {
  kind: "service",
  id: "default/payment-svc",
  roles: ["service", "service:payment-svc"],
  environment: "default",
};
const sha256 = (token: string) => createHash("sha256").update(token).digest("hex");

describe("tokens of deployed services", () => {
  const tokens = createWorkloadTokens("ab".repeat(32));
  const token = tokens.mint({ environment: "default", name: "payment-svc" });

  test("name the service, are the same each time, and are known as one principal", () => {
    expect(token).toMatch(/^hmsw1\.[\w-]+\.[\w-]{43}$/);
    expect(tokens.mint({ environment: "default", name: "payment-svc" })).toBe(token);
    expect(tokens.principalOf(token)).toEqual(payment);
    expect(tokens.principalOf(token)).toBe(tokens.principalOf(token));
    expect(createWorkloadTokens("ab".repeat(32)).principalOf(token)).toEqual(payment);
  });

  test("are nobody's under another key, or with anything changed", () => {
    expect(createWorkloadTokens("cd".repeat(32)).principalOf(token)).toBeUndefined();
    for (let at = 0; at < token.length; at++) {
      const other = token[at] === "x" ? "y" : "x";
      expect(tokens.principalOf(token.slice(0, at) + other + token.slice(at + 1))).toBeUndefined();
      expect(tokens.principalOf(token.slice(0, at))).toBeUndefined();
    }
    expect(tokens.principalOf(`${token}.x`)).toBeUndefined();
    expect(tokens.principalOf(tokens.mint({ environment: "default", name: "../x" }))).toBeUndefined();
    expect(tokens.principalOf(`hmsw1.${"a".repeat(600)}.x`)).toBeUndefined();
  });
});

test("a certificate names a deployed service of this installation, and nothing else", () => {
  const principalOf = createPeerPrincipals("home");
  expect(principalOf("spiffe://home/env/default/svc/payment-svc")).toEqual(payment);
  for (const other of [
    "spiffe://elsewhere/env/default/svc/payment-svc",
    "spiffe://home/env/default/svc/payment-svc/x",
    "spiffe://home/env/default/svc/",
    "spiffe://home/svc/payment-svc",
    "spiffe://home/env/../svc/payment-svc",
    "https://home/env/default/svc/payment-svc",
    "",
  ]) {
    expect(principalOf(other), other).toBeUndefined();
  }
});

describe("an identity of several sources", () => {
  const operator = { kind: "operator", id: "operator" } as const;
  const tokens = createWorkloadTokens("ab".repeat(32));
  const identity = createTokenIdentity([["t".repeat(64), operator]], {
    sources: [tokens],
    peers: createPeerPrincipals("home"),
  });
  const peer = "spiffe://home/env/default/svc/payment-svc";

  test("asks each in turn; a token says more than a certificate", () => {
    const token = tokens.mint({ environment: "prod", name: "a" });
    expect(identity.authenticate({ transport: "socket", token: "t".repeat(64) })).toBe(operator);
    expect(identity.authenticate({ transport: "socket", token })).toMatchObject({ id: "prod/a" });
    expect(identity.authenticate({ transport: "network", token, peer })).toMatchObject({ id: "prod/a" });
    expect(identity.authenticate({ transport: "network", peer })).toEqual(payment);
    expect(identity.authenticate({ transport: "network", peer: "spiffe://other/x" })).toBe(anonymous);
    const wrong = () => identity.authenticate({ transport: "network", token: "x", peer });
    expect(wrong).toThrow(expect.objectContaining({ code: "UNAUTHENTICATED" }));
  });
});

describe("a key file", () => {
  let folder = "";
  let keys: KeyFile | undefined;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hms-keys-"));
  });
  afterEach(() => {
    keys?.[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });

  function open() {
    const path = join(folder, "ffi-keys.json");
    const failures: HmsError[] = [];
    const reduced: string[] = [];
    const opened = openKeyFile({
      path,
      onChange: (_count, names) => reduced.push(...names),
      onFailure: (failure) => failures.push(failure),
    });
    keys = opened;
    const write = (list: object[]) => writeFileSync(path, JSON.stringify({ keys: list }), { mode: 0o600 });
    return { path, keys: opened, failures, reduced, write };
  }
  const anna = { id: "anna", kind: "user", roles: ["doctor"], mfa: true, token_sha256: sha256("secret") };

  test("says who shows a token and what he may register, and is followed", async () => {
    const { keys, reduced, write } = open();
    expect(keys.principalOf("secret")).toBeUndefined();
    write([
      anna,
      { id: "etl", kind: "service", environment: "prod", token_sha256: sha256("other"), registers: ["hms.etl.*"] },
    ]);
    await vi.waitFor(() => expect(keys.principalOf("secret")).toBeDefined(), 4000);
    const known = keys.principalOf("secret") as Principal;
    expect(known).toEqual({ kind: "user", id: "anna", roles: ["doctor"], mfa: true });
    expect(keys.principalOf("secret")).toBe(known);
    expect(keys.registersOf(known)).toEqual([]);
    expect(keys.registersOf(keys.principalOf("other") as Principal)).toEqual(["hms.etl.*"]);
    expect(keys.registersOf({ kind: "user", id: "ben" })).toBeUndefined();
    expect(reduced).toEqual([]);
    write([{ ...anna, roles: [] }]);
    await vi.waitFor(() => expect(reduced).toEqual(["user:anna", "service:etl"]), 4000);
    expect(keys.principalOf("secret")?.roles).toEqual([]);
    expect(keys.principalOf("other")).toBeUndefined();
    expect(keys.current(known)).toMatchObject({ id: "anna", roles: [] });
    expect(keys.current({ kind: "service", id: "etl" })).toBeUndefined();
    expect(keys.current(payment as Principal)).toBe(payment);
  });

  test("that others can read, or that is wrong, is told of and changes nothing", async () => {
    const { path, keys, failures, write } = open();
    write([anna]);
    await vi.waitFor(() => expect(keys.principalOf("secret")).toBeDefined(), 4000);
    writeFileSync(
      path,
      '[{"id": "a/b", "kind": "admin", "token": "x"}, {"id": "a", "kind": "user", "token_sha256": "AB"}]',
    );
    await vi.waitFor(() => expect(failures).toHaveLength(1), 4000);
    const found = failures[0]?.details.fieldViolations?.map(({ field, description }) => `${field} ${description}`);
    expect(found).toEqual([
      "[0].token_sha256 is missing",
      "[0].id is no id; use 1 to 100 letters, digits and inner . _ @ -",
      '[0].kind cannot be "admin"; write "user" or "service"',
      "[0].token is no key here; possible are id, kind, roles, mfa, environment, token_sha256, registers",
      expect.stringContaining("[1].token_sha256 is no SHA-256"),
    ]);
    expect(keys.principalOf("secret")).toBeDefined();
    write([]);
    chmodSync(path, 0o640);
    await vi.waitFor(() => expect(failures).toHaveLength(2), 4000);
    expect(failures[1]?.message).toContain("chmod 600");
    expect(keys.principalOf("secret")).toBeDefined();
  });

  test("is read as the guide shows it", async () => {
    const guide = readFileSync(new URL("../../../docs/guide/access.md", import.meta.url), "utf8");
    const examples = [...guide.matchAll(/```json\n(.*?)```/gs)].map(([, example = ""]) => example);
    const example = examples.find((each) => each.includes("token_sha256")) ?? "";
    const { path, keys } = open();
    writeFileSync(path, example, { mode: 0o600 });
    const batch = { kind: "service", id: "billing-batch" } as const;
    await vi.waitFor(() => expect(keys.registersOf(batch)).toEqual(["hms.billing.*"]), 4000);
  });

  test("names everybody once, with a token of his own", () => {
    const { path, failures, write } = open();
    void path;
    write([anna, { ...anna, kind: "service" }, anna]);
    return vi.waitFor(() => expect(failures[0]?.message).toMatch(/has a key already.*another key's too/s), 4000);
  });
});

import { describe, expect, test } from "vitest";
import { checkCommand, checkEnv, checkName, digestHex, parseReplicaId, replicaKey } from "./replica-name.ts";

describe("names at the agent's boundary", () => {
  test("an id comes apart into its parts and makes a safe file name", () => {
    expect(parseReplicaId("production/receipt-svc/12/0-k3f9")).toEqual({
      environment: "production",
      service: "receipt-svc",
      revision: 12n,
      last: "0-k3f9",
    });
    expect(replicaKey("production/receipt-svc/12/0-k3f9")).toBe("production~receipt-svc~12~0-k3f9");
  });

  test.each([
    "",
    "..",
    "a/b/1",
    "a/b/1/c/d",
    "../b/1/c",
    "a/../1/c",
    "a/b/../c",
    "a/b/01/c",
    "a/b/-1/c",
    "a/b/1/.",
    "a/b/1/C",
    "a//1/c",
    "a/b/1/c\n",
    "a~/b/1/c",
  ])("%j is no replica id", (text) => {
    expect(() => parseReplicaId(text)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  test("what a shell or a path could take for something else is refused", () => {
    const refused = expect.objectContaining({ code: "INVALID_ARGUMENT" });
    for (const name of ["", "-a", "a-", "a_b", "a.b", "x".repeat(64)])
      expect(() => checkName("service", name)).toThrow(refused);
    for (const name of ["", "1A", "A-B", "A=B", "A;rm"])
      expect(() => checkEnv("env", { [name]: "x" })).toThrow(refused);
    expect(() => checkEnv("env", { A: "x\0y" })).toThrow(refused);
    expect(() => checkCommand("command", " ")).toThrow(refused);
    expect(() => digestHex("digest", `sha256:${"A".repeat(64)}`)).toThrow(refused);
    expect(digestHex("digest", `sha256:${"a".repeat(64)}`)).toBe("a".repeat(64));
  });
});

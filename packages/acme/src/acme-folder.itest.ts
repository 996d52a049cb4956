import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempFolder } from "@hms/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AcmeFolder } from "./acme-folder.ts";

let root: ReturnType<typeof tempFolder>;
let folder: AcmeFolder;
beforeEach(() => {
  root = tempFolder();
  const at = (name: string) => join(root.path, name);
  folder = new AcmeFolder({ folder: at("acme"), certificates: at("gateway-tls"), challenges: at("challenges") });
});
afterEach(() => root[Symbol.dispose]());
const shown = (name: string) => join(root.path, "gateway-tls", name, "combined.pem");

test("what is shown is what was obtained for the names that are set, and what others have put there stays", () => {
  const foreign = join(root.path, "gateway-tls/acme-legacy");
  mkdirSync(foreign, { recursive: true });
  writeFileSync(join(foreign, "cert.pem"), "theirs");
  for (const name of ["a.test", "b.test"]) folder.keepCertificate(name, `chain of ${name}`);
  folder.publish(["a.test", "b.test", "new.test"]);
  expect(readFileSync(shown("acme-a.test"), "utf8")).toMatch(/^chain of a.test\n-----BEGIN PRIVATE KEY-----/);
  expect(existsSync(shown("acme-new.test"))).toBe(false);
  folder.publish(["a.test"]);
  expect([existsSync(shown("acme-a.test")), existsSync(shown("acme-b.test"))]).toEqual([true, false]);
  folder.publish([]);
  expect(existsSync(shown("acme-a.test"))).toBe(false);
  expect(readFileSync(join(foreign, "cert.pem"), "utf8")).toBe("theirs");
  // A name that is set again needs no new order.
  folder.publish(["b.test"]);
  expect(existsSync(shown("acme-b.test"))).toBe(true);
});

test("an order keeps its key until there is a certificate, and the next one has another", () => {
  const key = folder.nextKey("a.test");
  expect(folder.nextKey("a.test")).toBe(key);
  folder.keepCertificate("a.test", "chain");
  expect(folder.certificate("a.test")).toBe(`chain\n${key}`);
  folder.forgetNextKey("a.test");
  expect(folder.nextKey("a.test")).not.toBe(key);
});

test("an account has a key for each authority, which is not used once others can read it", () => {
  const [one, other] = ["https://one.test/dir", "https://other.test/dir"];
  const keyOf = (directory: string) => folder.accountKey(directory).export({ format: "jwk" });
  expect(keyOf(one)).toEqual(keyOf(one));
  expect(keyOf(one)).not.toEqual(keyOf(other));
  const refusal = () => {
    try {
      folder.accountKey(one);
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  };
  expect(refusal()).toBe("");
  folder.keepAccount(one, { url: "https://one.test/acct/1" });
  const file = /Run: chmod 600 (\S+)/;
  for (const mode of [0o640, 0o604]) {
    chmodSync(keyFile(), mode);
    expect(refusal()).toMatch(file);
  }
  chmodSync(keyFile(), 0o600);
  expect(refusal()).toBe("");
});

/** Of the first authority, as its refusal would name it. */
function keyFile(): string {
  const accounts = join(root.path, "acme/accounts");
  const [found] = readdirSync(accounts).filter((name) => existsSync(join(accounts, name, "account.json")));
  return join(accounts, found ?? "", "account.key");
}

test("a challenge is answered until it is withdrawn, and no token leads out of its folder", () => {
  const file = join(root.path, "challenges/t-0_k");
  {
    using _answer = folder.answerChallenge("t-0_k", "proof");
    expect(readFileSync(file, "utf8")).toBe("proof");
  }
  expect(existsSync(file)).toBe(false);
  for (const token of ["", "../acme/x", "a/b", "a.b", "x".repeat(257)])
    expect(() => folder.answerChallenge(token, "proof")).toThrow("base64url");
});

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSealingKey } from "@hms/secrets";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  auditKeysSealedBy,
  EpochKeys,
  nextEpochKey,
  openAuditKeys,
  readVerificationRoot,
  verificationRootPath,
} from "./index.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hms-audit-keys-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const sealing = () => openSealingKey(join(folder, "secrets.key"));
const open = (hasLog = false) => openAuditKeys(join(folder, "audit"), sealing(), hasLog);
const today = () => new Date().toISOString().slice(0, 10);

test("keys stay the same over restarts, follow from the first one day by day, and are sealed", () => {
  const keys = open();
  const root = readVerificationRoot(verificationRootPath(join(folder, "audit")), sealing());
  const first = Buffer.from(keys.epochKey);
  expect(first).toEqual(root);
  keys.advance(today());
  expect(keys.epoch).toBe(0);
  keys.advance("2999-01-01");
  keys.advance("2999-01-01");
  keys.advance("2998-01-01");
  expect([keys.epoch, keys.epochKey]).toEqual([1, nextEpochKey(root)]);
  const again = open(true);
  expect([again.epoch, again.epochKey]).toEqual([1, nextEpochKey(root)]);
  expect(again.signer.publicKey).toBe(keys.signer.publicKey);
  // The log may be further than keys that were restored.
  again.advance("2999-01-01", 4);
  expect(again.epoch).toBe(4);
  expect(new EpochKeys(root).keyOf("a", 4).export()).toEqual(new EpochKeys(again.epochKey).keyOf("a", 0).export());
  for (const name of readdirSync(join(folder, "audit"))) {
    const path = join(folder, "audit", name);
    if (!name.endsWith(".pem")) expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, "utf8");
    for (const secret of [root, again.epochKey]) {
      expect(text).not.toContain(secret.toString("base64"));
      expect(text).not.toContain(secret.toString("hex"));
    }
  }
});

test("who takes the first key away verifies elsewhere, and the log goes on", () => {
  open();
  rmSync(verificationRootPath(join(folder, "audit")));
  expect(() => readVerificationRoot(verificationRootPath(join(folder, "audit")), sealing())).toThrow(/--root/);
  expect(open(true).epoch).toBe(0);
});

test("keys that are gone while there is a log are not replaced by others", () => {
  open();
  rmSync(join(folder, "audit"), { recursive: true });
  expect(() => open(true)).toThrow(/Restore the folder/);
  expect(open(false).epoch).toBe(0);
});

test("the keys are sealed anew at the next start once the sealing key was replaced, and stay the same", () => {
  const keys = open();
  const [first, publicKey] = [Buffer.from(keys.epochKey), keys.signer.publicKey];
  const audit = join(folder, "audit");
  const key = sealing();
  const { id } = key;
  key.replace();
  expect([...auditKeysSealedBy(audit).keys()]).toEqual([id]);
  const again = open(true);
  expect([again.epochKey, again.signer.publicKey]).toEqual([first, publicKey]);
  expect([...auditKeysSealedBy(audit).keys()]).toEqual([key.id]);
  const past = Date.now() / 1000 - 7200;
  utimesSync(join(folder, "secrets.key"), past, past);
  key.forgetOld();
  expect(open(true).epochKey).toEqual(first);
  expect(readVerificationRoot(verificationRootPath(audit), sealing())).toEqual(first);
});

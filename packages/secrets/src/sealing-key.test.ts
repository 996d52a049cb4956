import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openSealingKey, sealedBy } from "./index.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hms-secrets-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const CONTEXT = ["identity", "signing-key", "k1"];
const open = (name = "a.key") => openSealingKey(join(folder, name));

test("what is sealed opens under the same context, after the file was read again", () => {
  const sealed = open().seal(Buffer.from("secret"), CONTEXT);
  expect(open().open(sealed, CONTEXT).toString()).toBe("secret");
  expect(sealed.includes("secret")).toBe(false);
  expect(open().seal(Buffer.from("secret"), CONTEXT)).not.toEqual(sealed);
  expect(statSync(join(folder, "a.key")).mode & 0o777).toBe(0o600);
});

test("nothing opens with one bit changed, a piece missing, or under another context", () => {
  const key = open();
  const sealed = key.seal(Buffer.from("secret"), CONTEXT);
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] as number) ^ 1;
    expect(() => key.open(changed, CONTEXT)).toThrow();
    expect(() => key.open(sealed.subarray(0, at), CONTEXT)).toThrow();
  }
  expect(() => key.open(Buffer.concat([sealed, Buffer.of(0)]), CONTEXT)).toThrow(/was changed/);
  for (const other of [["identity", "signing-key", "k2"], ["identity", "signing-keyk", "1"], []]) {
    expect(() => key.open(sealed, other)).toThrow(/belongs elsewhere/);
  }
});

test("another key's secret names the key that it needs", () => {
  const other = open("b.key");
  const sealed = other.seal(Buffer.from("secret"), CONTEXT);
  expect(() => open().open(sealed, CONTEXT)).toThrow(new RegExp(`sealed with the key ${other.id}`));
});

test("a key file that others can read, or that holds no key, is refused and never replaced", () => {
  const file = join(folder, "a.key");
  open();
  chmodSync(file, 0o640);
  expect(() => open()).toThrow(/chmod 600/);
  chmodSync(file, 0o600);
  writeFileSync(file, "hms-kek-v1 short\n");
  expect(() => open()).toThrow(/holds no key/);
  expect(readFileSync(file, "utf8")).toBe("hms-kek-v1 short\n");
});

test("derived keys differ by purpose and stay the same", () => {
  expect(open().derive("cookies")).toEqual(open().derive("cookies"));
  expect(open().derive("cookies")).not.toEqual(open().derive("csrf"));
});

/** As if the file had been written two hours ago. */
const age = (name = "a.key") => {
  const past = Date.now() / 1000 - 7200;
  utimesSync(join(folder, name), past, past);
};

test("a key is replaced without a restart: the new one seals everywhere, the old one opens until it is forgotten", () => {
  const [key, elsewhere] = [open(), open()];
  const before = key.seal(Buffer.from("secret"), CONTEXT);
  const { id } = key;
  expect(key.oldIds).toEqual([]);
  key.replace();
  expect([key.id === id, key.oldIds]).toEqual([false, [id]]);
  // A second try makes no third key.
  key.replace();
  expect(key.oldIds).toEqual([id]);
  // Another process seals and opens by it from the next secret on, and so does one that starts now.
  expect(sealedBy(elsewhere.seal(Buffer.from("x"), CONTEXT))).toBe(key.id);
  const after = key.seal(Buffer.from("new"), CONTEXT);
  for (const each of [key, elsewhere, open()]) {
    expect([each.open(before, CONTEXT).toString(), each.open(after, CONTEXT).toString()]).toEqual(["secret", "new"]);
  }
  const again = key.reseal(before, CONTEXT) as Buffer;
  expect([sealedBy(before), sealedBy(again), key.reseal(again, CONTEXT)]).toEqual([id, key.id, undefined]);
  expect(again.subarray(-20).equals(before.subarray(-20))).toBe(false);
  expect(() => key.forgetOld()).toThrow(/less than an hour ago/);
  age();
  key.forgetOld();
  expect(key.oldIds).toEqual([]);
  for (const each of [key, elsewhere, open()]) {
    expect(each.open(again, CONTEXT).toString()).toBe("secret");
  }
  expect(() => open().open(before, CONTEXT)).toThrow(new RegExp(`sealed with the key ${id}`));
  expect(statSync(join(folder, "a.key")).mode & 0o777).toBe(0o600);
});

test("what cannot be opened is not sealed anew", () => {
  const key = open();
  const sealed = key.seal(Buffer.from("secret"), CONTEXT);
  key.replace();
  expect(() => key.reseal(sealed, ["identity"])).toThrow(/belongs elsewhere/);
  expect(() => key.reseal(Buffer.from("nothing"), CONTEXT)).toThrow(/was changed/);
});

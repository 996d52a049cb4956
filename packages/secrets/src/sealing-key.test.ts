import { randomBytes } from "node:crypto";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openSealingKey, openText, sealedBy, sealText, textSealedBy } from "./index.ts";

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

/** An installation whose key something else puts into another folder. */
function keptElsewhere() {
  const place = join(folder, "credential");
  const put = (...keys: string[]) => {
    writeFileSync(`${place}.next`, keys.map((key) => `${key}\n`).join(""));
    renameSync(`${place}.next`, place);
  };
  const newKey = () => `hms-kek-v1 ${randomBytes(32).toString("base64")}`;
  const pointer = `hms-kek-file ${place}\n`;
  writeFileSync(join(folder, "a.key"), pointer, { mode: 0o600 });
  return { place, put, newKey, pointer };
}

test("keys that something else puts elsewhere are never written, are replaced where they are, and every process follows", () => {
  const { put, newKey, pointer } = keptElsewhere();
  const [first, second] = [newKey(), newKey()];
  put(first);
  const [server, agent] = [open(), open()];
  const sealed = server.seal(Buffer.from("secret"), CONTEXT);
  expect(agent.open(sealed, CONTEXT).toString()).toBe("secret");
  expect(() => server.replace()).toThrow(/kept where the key file says.*new line above it/s);
  put(second, first);
  server.replace();
  expect(server.oldIds).toEqual([sealedBy(sealed)]);
  // Nobody tells the other process.
  expect(sealedBy(agent.seal(Buffer.from("secret"), CONTEXT))).toBe(server.id);
  const anew = server.reseal(sealed, CONTEXT) as Buffer;
  expect([agent.open(anew, CONTEXT).toString(), agent.open(sealed, CONTEXT).toString()]).toEqual(["secret", "secret"]);
  expect(() => server.forgetOld()).toThrow(/Remove the lines below the first/);
  put(second);
  server.forgetOld();
  expect(server.oldIds).toEqual([]);
  expect(() => server.open(sealed, CONTEXT)).toThrow(/sealed with the key/);
  expect(readdirSync(folder).sort()).toEqual(["a.key", "credential"]);
  expect(readFileSync(join(folder, "a.key"), "utf8")).toBe(pointer);
});

test("a key that is gone from there is kept by whoever has it, and by nobody else", () => {
  const { place, put, newKey } = keptElsewhere();
  const [first, second] = [newKey(), newKey()];
  put(first);
  const server = open();
  const sealed = server.seal(Buffer.from("secret"), CONTEXT);
  const goesOn = () => server.open(server.seal(Buffer.from("on"), CONTEXT), CONTEXT).toString() === "on";
  rmSync(place);
  expect([server.open(sealed, CONTEXT).toString(), goesOn()]).toEqual(["secret", true]);
  expect(() => open()).toThrow(/a\.key gives no secret: .*credential cannot be read \(ENOENT\)/);
  put("no key");
  expect(goesOn()).toBe(true);
  expect(() => open()).toThrow(/credential holds no key/);
  // Another one without the one before: a mistake, by which everything would be lost.
  put(second);
  expect(goesOn()).toBe(true);
  expect(() => server.replace()).toThrow(/that everything is sealed by is not in/);
  put(second, first);
  server.replace();
  // Whoever only goes on must not say that something is sealed anew.
  rmSync(place);
  expect(() => server.reseal(sealed, CONTEXT)).toThrow(/cannot be read/);
  put(second, first);
  expect(sealedBy(server.reseal(sealed, CONTEXT) as Buffer)).toBe(server.id);
  expect(readdirSync(folder).sort()).toEqual(["a.key", "credential"]);
});

test("lines of files open under their context only, and plain ones of before come as they are", () => {
  const key = open();
  const line = sealText(key, "secret", CONTEXT);
  expect([openText(key, line, CONTEXT), textSealedBy(line), line.includes("secret")]).toEqual([
    "secret",
    key.id,
    false,
  ]);
  expect(() => openText(key, line, ["other"])).toThrow(/belongs elsewhere/);
  expect([openText(key, "plain", CONTEXT), textSealedBy("plain")]).toEqual(["plain", ""]);
});

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { keepFile, openRecordFile } from "./index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hms-kept-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const records = [{ name: "a" }, { text: "line\nbreak é" }, { list: [1, 2, 3] }];

function written(): string {
  const file = join(folder, "deep/log");
  using log = openRecordFile(file);
  for (const record of records) log.append(record);
  return file;
}

function found(file: string): readonly unknown[] {
  using log = openRecordFile(file);
  return log.found;
}

describe("a file of records", () => {
  test("gives back what was added, in order, to its owner only", () => {
    const file = written();
    expect(found(file)).toEqual(records);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "deep")).mode & 0o777).toBe(0o700);
  });

  test("cut off at any byte holds the records that were whole, and goes on after them", () => {
    const file = written();
    const bytes = readFileSync(file);
    for (let length = 0; length <= bytes.length; length += 1) {
      writeFileSync(file, bytes.subarray(0, length));
      const whole = bytes.subarray(0, length).toString("latin1").split("\n").length - 1;
      {
        using log = openRecordFile(file);
        expect(log.found).toEqual(records.slice(0, whole));
        log.append({ more: length });
      }
      expect(found(file)).toEqual([...records.slice(0, whole), { more: length }]);
    }
  });

  test("with any byte changed holds what comes before the record that it belongs to", () => {
    const file = written();
    const bytes = readFileSync(file);
    const ends = [...bytes.entries()].filter(([, byte]) => byte === 0x0a).map(([at]) => at);
    for (let at = 0; at < bytes.length; at += 1) {
      const spoilt = Buffer.from(bytes);
      spoilt[at] = (spoilt[at] ?? 0) ^ 1;
      writeFileSync(file, spoilt);
      expect(found(file)).toEqual(records.slice(0, ends.filter((end) => end < at).length));
    }
  });

  test("holds a record that stands twice once: its number is another", () => {
    const file = written();
    const bytes = readFileSync(file);
    writeFileSync(file, Buffer.concat([bytes, bytes.subarray(0, bytes.indexOf(0x0a) + 1)]));
    expect(found(file)).toEqual(records);
  });
});

test("a file of records that has been closed takes nothing more", () => {
  const file = join(folder, "log");
  const log = openRecordFile(file);
  log[Symbol.dispose]();
  log[Symbol.dispose]();
  expect(() => log.append({})).toThrow(/has been closed/);
  expect(found(file)).toEqual([]);
});

test("a file that is kept whole is the owner's, and stays as it was if it cannot be replaced", async () => {
  const file = join(folder, "one/kept");
  await keepFile(file, "first");
  await keepFile(file, "second");
  expect(readFileSync(file, "utf8")).toBe("second");
  expect(statSync(file).mode & 0o777).toBe(0o600);
  await expect(keepFile(join(file, "below"), "third")).rejects.toThrow();
  expect(readFileSync(file, "utf8")).toBe("second");
  expect(readdirSync(join(folder, "one"))).toEqual(["kept"]);
});

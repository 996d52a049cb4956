import { createHash } from "node:crypto";
import { appendFileSync, chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tempFolder } from "@hms/testkit";
import { expect, onTestFinished, test } from "vitest";
import { checkBreachedPasswords, createPwnedPasswords } from "./index.ts";

const PASSWORD = "four words nobody joined";
const sha1 = (text: string) => createHash("sha1").update(text).digest("hex").toUpperCase();

/** Hashes in their order, with counts of different lengths; the password's is among them. */
function manyHashes(amount: number): { hash: string; count: number }[] {
  const hashes = Array.from({ length: amount }, (_, n) => sha1(`leaked ${n}`));
  return [...hashes, sha1(PASSWORD)].sort().map((hash, n) => ({ hash, count: 1 + (n % 7) ** 6 }));
}

function installation() {
  const folder = tempFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  const settings = `${folder.path}/passwords.json`;
  const list = `${folder.path}/pwnedpasswords.txt`;
  writeFileSync(settings, JSON.stringify({ breached_passwords: list }), { mode: 0o600 });
  return { settings, list, passwords: createPwnedPasswords(settings), check: () => checkBreachedPasswords(settings) };
}

const linesOf = (hashes: readonly { hash: string; count: number }[], end: string) =>
  hashes.map(({ hash, count }) => `${hash}:${count}`).join(end);

test.each([
  ["ended by \\r\\n", "\r\n", true],
  ["ended by \\n", "\n", true],
  ["the last without an end", "\n", false],
] as const)("of a file with lines %s exactly the passwords on it are breached", async (_, end, isEnded) => {
  const { list, passwords, check } = installation();
  writeFileSync(list, linesOf(manyHashes(12_000), end) + (isEnded ? end : ""));
  expect(await check()).toMatchObject({ path: list, form: "file" });
  const there = Array.from({ length: 12_000 }, (_, n) => n).filter((n) => n % 97 === 0);
  for (const n of there) expect(await passwords.includes(`leaked ${n}`), String(n)).toBe(true);
  for (const n of there) expect(await passwords.includes(`not leaked ${n}`), String(n)).toBe(false);
  const ordered = manyHashes(12_000).map(({ hash }) => hash);
  const ends = Array.from({ length: 12_000 }, (_, n) => `leaked ${n}`).filter((text) =>
    [ordered[0], ordered[1], ordered.at(-2), ordered.at(-1)].includes(sha1(text)),
  );
  for (const text of ends) expect(await passwords.includes(text), text).toBe(true);
  expect(ends.length).toBeGreaterThanOrEqual(3);
  expect(await passwords.includes(PASSWORD)).toBe(true);
  expect(await passwords.includes(PASSWORD.toUpperCase())).toBe(false);
});

test("files of one, two and a few lines are searched whole, in small letters too", async () => {
  for (const amount of [0, 1, 2, 80, 95]) {
    const { list, passwords, check } = installation();
    writeFileSync(list, linesOf(manyHashes(amount), "\n").toLowerCase());
    await check();
    const found = await Promise.all(Array.from({ length: 100 }, (_, n) => passwords.includes(`leaked ${n}`)));
    expect(found.filter((is) => is).length).toBe(amount);
    expect(await passwords.includes(PASSWORD)).toBe(true);
  }
});

test("a folder of ranges is asked for one of them; lines that only fill it up count nothing", async () => {
  const { settings, list, passwords, check } = installation();
  mkdirSync(list);
  const hash = sha1(PASSWORD);
  const range = `${list}/${hash.slice(0, 5)}.txt`;
  writeFileSync(range, `${"0".repeat(35)}:3\r\n${hash.slice(5)}:12\r\n${"F".repeat(35)}:1`);
  expect(await passwords.includes(PASSWORD)).toBe(true);
  writeFileSync(range, `${"0".repeat(35)}:3\r\n${hash.slice(5)}:0\r\n`);
  expect(await passwords.includes(PASSWORD)).toBe(false);
  await expect(passwords.includes("of another range")).rejects.toThrow(/\.txt, cannot be used: it is not there/);
  await expect(check()).rejects.toThrow(/00000\.txt.*it is not there.*1,048,576 ranges/);
  for (let n = 0; n < 64; n += 1) {
    const prefix = Math.floor((n * 0xf_ffff) / 63)
      .toString(16)
      .padStart(5, "0");
    writeFileSync(`${list}/${prefix.toUpperCase()}.txt`, `${"A".repeat(35)}:1\n`);
  }
  expect(await checkBreachedPasswords(settings)).toEqual({ path: list, form: "folder of ranges" });
  writeFileSync(`${list}/FFFFF.txt`, "");
  await expect(check()).rejects.toThrow(/FFFFF\.txt.*it is empty/);
  writeFileSync(`${list}/FFFFF.txt`, `${"A".repeat(35)}:1\n${"B".repeat(20)}`);
  await expect(check()).rejects.toThrow(/line 2 is not the rest of a SHA-1/);
});

test("a file that is missing, empty, of another form or in another order is told as that, with what to do", async () => {
  const { list, passwords, check } = installation();
  const sorted = manyHashes(3000);
  const broken: readonly [string, RegExp][] = [
    ["", /it is empty/],
    ["7z\xbc\xaf\x27\x1c".repeat(2000), /at byte 0 there is no line/],
    [linesOf(sorted, "\n").replaceAll(/([0-9A-F]{32})[0-9A-F]{8}:/g, "$1:"), /no line of a SHA-1/],
    [sorted.map(({ hash }) => hash).join("\n"), /no line of a SHA-1/],
    [linesOf(sorted.toReversed(), "\n"), /not in the order of its hashes/],
    [`${linesOf(sorted, "\n")}\n${sorted[0]?.hash}:1`, /not in the order of its hashes/],
    [`${linesOf(sorted, "\n")}\n0123`, /no line of a SHA-1/],
    ["A".repeat(20_000), /no line of a SHA-1/],
  ];
  await expect(check()).rejects.toThrow(/it is not there.*fetch it again/);
  for (const [text, why] of broken) {
    writeFileSync(list, text, "latin1");
    await expect(check(), text.slice(0, 50)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: { reason: "BREACHED_PASSWORDS_UNUSABLE" },
      message: expect.stringMatching(why),
    });
    await expect(check()).rejects.toThrow(list);
  }
  // What a search comes across is judged, too, so that nothing passes because it was not found in a heap.
  writeFileSync(list, linesOf(sorted.toReversed(), "\n"));
  await expect(passwords.includes(PASSWORD)).rejects.toThrow(/not in the order/);
  rmSync(list);
  await expect(passwords.includes(PASSWORD)).rejects.toThrow(/is not there/);
});

test("the file that names the list may be missing, and is refused with every problem if it is wrong", async () => {
  const { settings, list, passwords, check } = installation();
  writeFileSync(list, linesOf(manyHashes(10), "\n"));
  expect(await passwords.includes(PASSWORD)).toBe(true);
  appendFileSync(settings, "}");
  await expect(passwords.includes(PASSWORD)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  writeFileSync(settings, '{"breached_password": "x", "breached_passwords": "pwned.txt"}');
  await expect(check()).rejects.toThrow(/did you mean breached_passwords.*is no absolute path/s);
  writeFileSync(settings, JSON.stringify({ breached_passwords: list }));
  chmodSync(settings, 0o666);
  await expect(check()).rejects.toThrow(`chmod go-w ${settings}`);
  rmSync(settings);
  expect([await check(), await passwords.includes(PASSWORD)]).toEqual([undefined, false]);
});

import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { openSealingKey, type SealingKey } from "@hms/secrets";
import { type TempFolder, tempFolder } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createWorkloadKeyReplacement } from "./replace-workload-key.ts";
import { keyFilesSealedBy } from "./sealed-key-file.ts";
import { openWorkloadKeys } from "./workload-keys.ts";
import { createWorkloadTokens } from "./workload-tokens.ts";

const payment = { environment: "default", name: "payment-svc" };
const MINUTE = 60_000;
let folder: TempFolder;
let stack: DisposableStack;
let path = "";
let sealing: SealingKey;

beforeEach(() => {
  folder = tempFolder();
  stack = new DisposableStack();
  stack.use(folder);
  path = `${folder.path}/workload.key`;
  sealing = openSealingKey(`${folder.path}/secrets.key`);
});
afterEach(() => stack[Symbol.dispose]());

/** A process of the platform. */
function open() {
  const failures: string[] = [];
  const keys = stack.use(openWorkloadKeys({ path, sealing, onFailure: ({ message }) => failures.push(message) }));
  const tokens = createWorkloadTokens(keys);
  const knows = (token: string) => tokens.principalOf(token)?.id === "default/payment-svc";
  return { keys, tokens, knows, failures };
}

describe("the key of deployed services' tokens", () => {
  test("is replaced with an overlap: tokens by both are good, in every process and after its restart, until it is forgotten", async () => {
    const [server, part] = [open(), open()];
    const before = server.tokens.mint(payment);
    expect([server.knows(before), part.knows(before)]).toEqual([true, true]);
    server.keys.replace();
    const after = server.tokens.mint(payment);
    expect(after).not.toBe(before);
    // A replica that starts just now may come to a process that has not been told yet.
    expect([part.knows(after), part.knows(before)]).toEqual([true, true]);
    expect([server.knows(after), server.knows(before)]).toEqual([true, true]);
    const restarted = open();
    expect([restarted.knows(before), restarted.knows(after), restarted.tokens.mint(payment)]).toEqual([
      true,
      true,
      after,
    ]);
    server.keys.forgetOld();
    expect([server.knows(before), server.knows(after)]).toEqual([false, true]);
    await vi.waitFor(() => expect(part.knows(before)).toBe(false), 6000);
    expect([part.knows(after), open().knows(before)]).toEqual([true, false]);
    expect(server.tokens.mint(payment)).toBe(after);
  });

  test("is not replaced a second time while the one before is good, so that nobody's token ends unasked", () => {
    const { keys, tokens, knows } = open();
    const before = tokens.mint(payment);
    keys.replace();
    const text = readFileSync(path, "utf8");
    keys.replace();
    expect([readFileSync(path, "utf8"), knows(before)]).toEqual([text, true]);
    expect([statSync(path).mode & 0o777, statSync(`${path}.old`).mode & 0o777]).toEqual([0o600, 0o600]);
  });

  test("is good whenever replacing it was cut short", () => {
    const before = open().tokens.mint(payment);
    // Killed after the first of both files.
    writeFileSync(`${path}.old`, readFileSync(path), { mode: 0o600 });
    const next = open();
    expect([next.knows(before), next.keys.replacedAtMs]).toEqual([true, undefined]);
    next.keys.replace();
    expect([next.knows(before), next.tokens.mint(payment) === before]).toEqual([true, false]);
  });

  test("lies there sealed; one from before that is plain, or by an old sealing key, is sealed anew and still good", () => {
    const plain = "ab".repeat(32);
    const by = () => [...keyFilesSealedBy([path, `${path}.old`]).keys()];
    writeFileSync(path, `${plain}\n`, { mode: 0o600 });
    const before = createWorkloadTokens({ all: [plain], look() {} }).mint(payment);
    const { keys, knows } = open();
    expect([knows(before), readFileSync(path, "utf8").includes(plain), by()]).toEqual([true, false, [sealing.id]]);
    keys.replace();
    expect(readFileSync(`${path}.old`, "utf8")).not.toContain(plain);
    sealing.replace();
    expect(by()).toEqual(sealing.oldIds);
    expect(open().knows(before)).toBe(true);
    expect(by()).toEqual([sealing.id]);
  });

  test("that cannot be read leaves the ones before in force, and is told of", async () => {
    const { tokens, knows, failures } = open();
    const before = tokens.mint(payment);
    writeFileSync(path, "no key\n", { mode: 0o600 });
    await vi.waitFor(() => expect(failures).toEqual([expect.stringContaining("64 hexadecimal digits")]), 6000);
    expect(knows(before)).toBe(true);
    rmSync(path);
    expect(existsSync(path)).toBe(false);
  });
});

describe("forgetting the old key", () => {
  /** At a clock of its own. */
  function replacing() {
    const { keys, tokens, knows } = open();
    const clock = { ms: Date.now() };
    const admin = createWorkloadKeyReplacement({ keys, tokens, now: () => clock.ms });
    const before = tokens.mint(payment);
    const { keyId, oldKeyIds } = admin.replaceWorkloadKey();
    utimesSync(`${path}.old`, clock.ms / 1000, clock.ms / 1000);
    const forget = (force = false) => admin.forgetOldWorkloadKeys({ force });
    return { clock, forget, before, knows, keyId, oldKeyIds, tokens };
  }

  test("waits until nobody can use it unseen, and names who does", () => {
    const { clock, forget, before, knows, keyId, oldKeyIds, tokens } = replacing();
    expect(() => forget()).toThrow(/ask again in 10 min/);
    clock.ms += 11 * MINUTE;
    vi.setSystemTime(clock.ms - MINUTE);
    expect(knows(before)).toBe(true);
    expect(() => forget()).toThrow(/default\/payment-svc.*hms-sys restart/);
    vi.useRealTimers();
    expect(knows(before)).toBe(true);
    // Restarted, it shows its new token, and the old one no more.
    clock.ms += 11 * MINUTE;
    expect(knows(tokens.mint(payment))).toBe(true);
    expect(forget()).toEqual({ keyId, forgottenKeyIds: oldKeyIds });
    expect([knows(before), knows(tokens.mint(payment))]).toEqual([false, true]);
    expect(forget()).toEqual({ keyId, forgottenKeyIds: [] });
  });

  test("does not wait if it is forced, and names keys without telling them", () => {
    const { forget, before, knows, keyId, oldKeyIds } = replacing();
    expect(knows(before)).toBe(true);
    const text = readFileSync(path, "utf8").trim();
    expect(forget(true)).toEqual({ keyId, forgottenKeyIds: oldKeyIds });
    expect([knows(before), oldKeyIds.length, keyId === oldKeyIds[0], text.includes(keyId)]).toEqual([
      false,
      1,
      false,
      false,
    ]);
  });
});

test("tokens that nobody knows make no process read its files all the time", () => {
  let looks = 0;
  const tokens = createWorkloadTokens({ all: ["ab".repeat(32)], look: () => void looks++ });
  for (let at = 0; at < 1000; at += 1) expect(tokens.principalOf(`hmsw1.${at}.x`)).toBeUndefined();
  expect(looks).toBeLessThanOrEqual(2);
});

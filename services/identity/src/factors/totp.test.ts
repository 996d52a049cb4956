import { expect, test } from "vitest";
import { newTotpSecret, stepAt, stepOfCode, totpAddress, totpCode, typedSecret } from "./totp.ts";

const SECRET = Buffer.from("12345678901234567890");

test.each([
  [59, "94287082"],
  [1111111109, "07081804"],
  [1111111111, "14050471"],
  [1234567890, "89005924"],
  [2000000000, "69279037"],
  [20000000000, "65353130"],
])("at %i s the code is the last six digits of RFC 6238's", (seconds, eight) => {
  expect(totpCode(SECRET, stepAt(seconds * 1000))).toBe(eight.slice(2));
});

test("a code is good for the thirty seconds of its step, and no others are", () => {
  const now = 1_800_000_000_000;
  for (const ms of [now, now + 15_000, now + 29_999]) {
    const good = [-2, -1, 0, 1, 2].map((away) => stepOfCode(SECRET, totpCode(SECRET, stepAt(ms) + away), ms));
    expect(good.map((step) => step && step - stepAt(now))).toEqual([undefined, undefined, 0, undefined, undefined]);
  }
  const ended = totpCode(SECRET, stepAt(now));
  expect([stepOfCode(SECRET, ended, now - 1), stepOfCode(SECRET, ended, now + 30_000)]).toEqual([undefined, undefined]);
  const code = totpCode(SECRET, stepAt(now));
  for (const other of ["", code.slice(1), `${code}0`, ` ${code}`, `${code} `, "１２３４５６", "000000000000"]) {
    expect(stepOfCode(SECRET, other, now), other).toBeUndefined();
  }
});

test("a secret is read by apps as it is typed", () => {
  expect(typedSecret(SECRET)).toBe("GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
  const address = totpAddress(SECRET, { login: "anna@example.org", instance: "default" });
  expect(address).toBe(
    "otpauth://totp/HMS-SYS:anna%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=HMS-SYS&algorithm=SHA1&digits=6&period=30",
  );
  expect(newTotpSecret()).toHaveLength(20);
});

import { setTimeout as delay } from "node:timers/promises";
import { stepAt, totpCode } from "../factors/totp.ts";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The code that an app shows now of a key that was typed into it (base32, blanks do not count); with two seconds left at least. */
export async function appCode(typed: string): Promise<string> {
  const bits = [...typed.replace(/ /g, "")].map((letter) => LETTERS.indexOf(letter).toString(2).padStart(5, "0"));
  const bytes = bits.join("").match(/.{8}/g) ?? [];
  const leftMs = 30_000 - (Date.now() % 30_000);
  if (leftMs < 2_000) await delay(leftMs);
  return totpCode(Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2))), stepAt(Date.now()));
}

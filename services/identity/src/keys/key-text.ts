import { randomInt } from "node:crypto";
import { crc32 } from "node:zlib";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const FORM = /^hms_[a-z0-9-]{1,32}_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})_([0-9a-f]{8})$/;

const letters = (count: number) => Array.from({ length: count }, () => DIGITS[randomInt(62)]).join("");
const checksum = (text: string) => crc32(text).toString(16).padStart(8, "0");

/** A new key: `hms_<instance>_<id>_<256 random bits in base62>_<CRC-32>`, so that scanners know it for one of ours. */
export function newKeyText(instance: string): { keyId: string; text: string } {
  const keyId = letters(12);
  const body = `hms_${instance}_${keyId}_${letters(43)}`;
  return { keyId, text: `${body}_${checksum(body)}` };
}

/** The id in a key's text; undefined if it is no key, or has a typing error. */
export function keyIdOf(text: string): string | undefined {
  const [, keyId] = FORM.exec(text) ?? [];
  if (keyId === undefined) return undefined;
  return checksum(text.slice(0, -9)) === text.slice(-8) ? keyId : undefined;
}

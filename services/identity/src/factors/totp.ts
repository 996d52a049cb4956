import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** Seconds for which a code is shown. */
const STEP_SECONDS = 30;
const DIGITS = 6;

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** A new secret of 160 random bits, as RFC 4226 recommends. */
export function newTotpSecret(): Buffer {
  return randomBytes(20);
}

/** The step that a moment lies in. */
export function stepAt(ms: number): number {
  return Math.floor(ms / 1000 / STEP_SECONDS);
}

/** The code of a step (RFC 6238 with SHA-1, which is what authenticator apps know). */
export function totpCode(secret: Buffer, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac("sha1", secret).update(counter).digest();
  // The last four bits say where the 31 bits of the code begin (RFC 4226, section 5.3).
  const number = mac.readUInt32BE((mac[19] as number) & 0x0f) & 0x7fffffff;
  return String(number % 10 ** DIGITS).padStart(DIGITS, "0");
}

/**
 * The step of a moment, if its code was shown; undefined if it was another one. A code is good for the 30 s in which apps
 * show it and no longer (ASVS 6.5.5): who was too slow types the next one.
 */
export function stepOfCode(secret: Buffer, code: string, nowMs: number): number | undefined {
  if (!/^[0-9]{6}$/.test(code)) return undefined;
  const step = stepAt(nowMs);
  return timingSafeEqual(Buffer.from(code), Buffer.from(totpCode(secret, step))) ? step : undefined;
}

/** A secret as people type it into an app: base32 in groups of four. */
export function typedSecret(secret: Buffer): string {
  return (base32(secret).match(/.{1,4}/g) ?? []).join(" ");
}

/** A secret as apps read it from a picture (the key URI format of Google Authenticator). */
export function totpAddress(secret: Buffer, { login, instance }: { login: string; instance: string }): string {
  const issuer = instance === "default" ? "HMS-SYS" : `HMS-SYS ${instance}`;
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(login)}`;
  return `otpauth://totp/${label}?secret=${base32(secret)}&issuer=${encodeURIComponent(issuer)}&algorithm=SHA1&digits=${DIGITS}&period=${STEP_SECONDS}`;
}

function base32(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return (bits.match(/.{1,5}/g) ?? []).map((five) => BASE32[Number.parseInt(five.padEnd(5, "0"), 2)]).join("");
}

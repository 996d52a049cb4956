import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** Seconds for which a code is shown. */
const STEP_SECONDS = 30;
const DIGITS = 6;
/** Clocks differ, and people type slowly: the code before and the one after are good too. */
const DRIFT_STEPS = 1;

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

/** The step whose code was shown, of those that are good at a moment; undefined if it is none of theirs. */
export function stepOfCode(secret: Buffer, code: string, nowMs: number): number | undefined {
  if (!/^[0-9]{6}$/.test(code)) return undefined;
  const shown = Buffer.from(code);
  let found: number | undefined;
  for (let step = stepAt(nowMs) - DRIFT_STEPS; step <= stepAt(nowMs) + DRIFT_STEPS; step += 1) {
    if (timingSafeEqual(shown, Buffer.from(totpCode(secret, step)))) found = step;
  }
  return found;
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

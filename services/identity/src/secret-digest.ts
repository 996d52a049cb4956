import { createHash, randomBytes } from "node:crypto";

/** The SHA-256 by which the database knows a secret of at least 128 random bits. */
export function sha256(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}

/** A secret of 256 random bits, in URL-safe base64. */
export function newSecret(): string {
  return randomBytes(32).toString("base64url");
}

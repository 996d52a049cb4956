import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** Bytes that encryption adds: a random nonce in front, the authentication tag behind. */
export const OVERHEAD_BYTES = 28;

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Encrypts with AES-256-GCM under a random 96-bit nonce; answers nonce, ciphertext and tag in one. */
export function encrypt(key: Buffer, plain: Buffer, aad: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES }).setAAD(aad);
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Decrypts what `encrypt` made. @throws Error if anything of it, the key or the AAD differs. */
export function decrypt(key: Buffer, sealed: Buffer, aad: Buffer): Buffer {
  if (sealed.length < OVERHEAD_BYTES) throw new Error("too short to be sealed");
  const nonce = sealed.subarray(0, NONCE_BYTES);
  // Without the length Node accepts shortened tags.
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES }).setAAD(aad);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES)), decipher.final()]);
}

import { createHash, hkdfSync, randomBytes } from "node:crypto";
import { HmsError } from "@hms/kernel/errors";
import { decrypt, encrypt, OVERHEAD_BYTES } from "./aes-gcm.ts";
import { ensureKeyFile, readKeyFile } from "./key-file.ts";
import { lengthPrefixed } from "./length-prefixed.ts";

/** The key-encryption key of an installation. */
export interface SealingKey {
  /** Names the key without telling it: the first 8 bytes of its SHA-256, in hexadecimal. */
  readonly id: string;
  /**
   * Encrypts with a data key of its own (AES-256-GCM), wrapped by this key. `context` says whose secret it is
   * ("identity", "signing-key", its id): it opens under the same context only.
   */
  seal(plain: Uint8Array, context: readonly string[]): Buffer;
  /**
   * Opens what was sealed.
   * @throws HmsError FAILED_PRECONDITION if another key has sealed it, DATA_LOSS if it or its context was changed.
   */
  open(sealed: Uint8Array, context: readonly string[]): Buffer;
  /** 32 bytes for one purpose, always the same ones (HKDF-SHA256, RFC 5869). */
  derive(purpose: string): Buffer;
}

const VERSION = 1;
const ID_BYTES = 8;
const WRAPPED_BYTES = 32 + OVERHEAD_BYTES;
const HEAD_BYTES = 1 + ID_BYTES + WRAPPED_BYTES;

/**
 * Opens the key file of an installation, and makes one at its first start; it belongs outside of the data directory.
 * @throws HmsError FAILED_PRECONDITION if the file cannot be used.
 */
export function openSealingKey(file: string): SealingKey {
  ensureKeyFile(file);
  return sealingKey(readKeyFile(file));
}

function sealingKey(key: Buffer): SealingKey {
  const idBytes = createHash("sha256").update("hms-kek-v1").update(key).digest().subarray(0, ID_BYTES);
  const id = idBytes.toString("hex");
  const wrapAad = (context: readonly string[]) => lengthPrefixed(["hms.dek", "v1", ...context, id]);
  const dataAad = (context: readonly string[]) => lengthPrefixed(["hms.secret", "v1", ...context]);
  return {
    id,
    seal(plain, context) {
      const dataKey = randomBytes(32);
      const wrapped = encrypt(key, dataKey, wrapAad(context));
      const sealed = encrypt(dataKey, Buffer.from(plain), dataAad(context));
      dataKey.fill(0);
      return Buffer.concat([Buffer.of(VERSION), idBytes, wrapped, sealed]);
    },
    open(sealed, context) {
      const bytes = Buffer.from(sealed);
      if (bytes[0] !== VERSION || bytes.length < HEAD_BYTES + OVERHEAD_BYTES) throw damaged(context);
      const by = bytes.subarray(1, 1 + ID_BYTES).toString("hex");
      if (by !== id) throw otherKey(by, id);
      try {
        const dataKey = decrypt(key, bytes.subarray(1 + ID_BYTES, HEAD_BYTES), wrapAad(context));
        return decrypt(dataKey, bytes.subarray(HEAD_BYTES), dataAad(context));
      } catch (cause) {
        throw damaged(context, cause);
      }
    },
    derive: (purpose) => Buffer.from(hkdfSync("sha256", key, "hms-kek-v1", purpose, 32)),
  };
}

function otherKey(needed: string, present: string): HmsError {
  const message = `This secret was sealed with the key ${needed}, but the key file holds ${present}. Restore the key file that belongs to this database.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "OTHER_SEALING_KEY", metadata: { needed, present } });
}

function damaged(context: readonly string[], cause?: unknown): HmsError {
  const message = `The sealed secret ${context.join("/")} was changed or belongs elsewhere; it is not used. Restore it from a backup.`;
  return new HmsError("DATA_LOSS", message, { reason: "SEALED_SECRET_DAMAGED", cause });
}

import { createHash, hkdfSync, randomBytes } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";
import { decrypt, encrypt, OVERHEAD_BYTES } from "./aes-gcm.ts";
import { ensureKeyFile, keptElsewhere, readKeyFile, replaceKeyFile } from "./key-file.ts";
import { lengthPrefixed } from "./length-prefixed.ts";

/**
 * The key-encryption key of an installation. While it is being replaced there are two: the new one seals, both open. What
 * another process changes in the key file holds here from the next secret on.
 */
export interface SealingKey {
  /** Names the key without telling it: the first 8 bytes of its SHA-256, in hexadecimal. */
  readonly id: string;
  /** The same of keys that only open what they have sealed; usually none. */
  readonly oldIds: readonly string[];
  /** Whether the key file only says where they are. */
  readonly isKeptElsewhere: boolean;
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
  /**
   * Seals anew what an old key has sealed, under a data key of its own; undefined if it is sealed by the present one.
   * @throws HmsError as `open`
   */
  reseal(sealed: Uint8Array, context: readonly string[]): Buffer | undefined;
  /** 32 bytes for one purpose, the same ones as long as the key is (HKDF-SHA256, RFC 5869). */
  derive(purpose: string): Buffer;
  /**
   * Makes a new key that seals from now on; the one before opens until it is forgotten. Does nothing if there is one.
   * @throws HmsError FAILED_PRECONDITION if the keys are kept elsewhere and no new one is there: only the operator makes those
   */
  replace(): void;
  /**
   * Forgets all keys but the one that seals; what they have sealed is lost then.
   * @throws HmsError FAILED_PRECONDITION if it was made less than an hour ago: what lives for minutes only may still need them;
   * or if the keys are kept elsewhere, and the old ones still are
   */
  forgetOld(): void;
}

const VERSION = 1;
const ID_BYTES = 8;
const WRAPPED_BYTES = 32 + OVERHEAD_BYTES;
const HEAD_BYTES = 1 + ID_BYTES + WRAPPED_BYTES;
const KEPT_AT_LEAST_MS = 3_600_000;
/** When keys are looked for again that could not be had from elsewhere. */
const AGAIN_MS = 1000;
const NEW_KEY_ELSEWHERE =
  'Put a new line above it there, made by: echo "hms-kek-v1 $(openssl rand -base64 32)", and run this again.';
const OLD_KEY_ELSEWHERE = "Remove the lines below the first one there, an hour after the new one came or later.";

/** The id of the key by which something is sealed, in hexadecimal; "" if it is nothing sealed. */
export function sealedBy(sealed: Uint8Array): string {
  if (sealed[0] !== VERSION || sealed.length < HEAD_BYTES + OVERHEAD_BYTES) return "";
  return Buffer.from(sealed.subarray(1, 1 + ID_BYTES)).toString("hex");
}

/**
 * Opens the key file of an installation, and makes one at its first start; it belongs outside of the data directory.
 * @throws HmsError FAILED_PRECONDITION if the file cannot be used.
 */
export function openSealingKey(file: string): SealingKey {
  ensureKeyFile(file);
  return new KeyRing(file);
}

/**
 * Opens a key file that is there already, for whoever only opens what others have sealed.
 * @throws HmsError FAILED_PRECONDITION if there is none, or it cannot be used
 */
export function openExistingSealingKey(file: string): SealingKey {
  if (existsSync(file)) return new KeyRing(file);
  const message = `${file} is not there, by which secrets are sealed. Restore it from where you keep a copy.`;
  throw new HmsError("FAILED_PRECONDITION", message, { reason: "KEY_FILE_MISSING" });
}

interface OneKey {
  readonly id: string;
  readonly idBytes: Buffer;
  readonly key: Buffer;
}

function namedKey(key: Buffer): OneKey {
  const idBytes = createHash("sha256").update("hms-kek-v1").update(key).digest().subarray(0, ID_BYTES);
  return { id: idBytes.toString("hex"), idBytes, key };
}

class KeyRing implements SealingKey {
  readonly #file: string;
  #keys: readonly OneKey[] = [];
  /** What the file looked like when it was read. */
  #seen = "";
  /** The file where they are kept if that is another one. */
  #elsewhere: string | undefined;
  /** After it could not be read there. */
  #notBefore = 0;

  constructor(file: string) {
    this.#file = file;
    this.#read();
  }

  get id(): string {
    return this.#first.id;
  }

  get isKeptElsewhere(): boolean {
    return this.#elsewhere !== undefined;
  }

  get oldIds(): readonly string[] {
    this.#follow();
    return this.#keys.slice(1).map(({ id }) => id);
  }

  seal(plain: Uint8Array, context: readonly string[]): Buffer {
    this.#follow();
    const { key, id, idBytes } = this.#first;
    const dataKey = randomBytes(32);
    const wrapped = encrypt(key, dataKey, wrapAad(context, id));
    const sealed = encrypt(dataKey, Buffer.from(plain), dataAad(context));
    dataKey.fill(0);
    return Buffer.concat([Buffer.of(VERSION), idBytes, wrapped, sealed]);
  }

  open(sealed: Uint8Array, context: readonly string[]): Buffer {
    const bytes = Buffer.from(sealed);
    const by = sealedBy(bytes);
    if (by === "") throw damaged(context);
    const isKnown = () => this.#keys.find(({ id }) => id === by);
    if (isKnown() === undefined) this.#follow();
    const found = isKnown();
    if (found === undefined) throw otherKey(by, this.id);
    try {
      const dataKey = decrypt(found.key, bytes.subarray(1 + ID_BYTES, HEAD_BYTES), wrapAad(context, by));
      return decrypt(dataKey, bytes.subarray(HEAD_BYTES), dataAad(context));
    } catch (cause) {
      throw damaged(context, cause);
    }
  }

  reseal(sealed: Uint8Array, context: readonly string[]): Buffer | undefined {
    // By a key that has been replaced nothing may be said to be sealed anew.
    if (this.#look() !== this.#seen) this.#read();
    if (sealedBy(sealed) === this.id) return undefined;
    return this.seal(this.open(sealed, context), context);
  }

  derive(purpose: string): Buffer {
    return Buffer.from(hkdfSync("sha256", this.#first.key, "hms-kek-v1", purpose, 32));
  }

  replace(): void {
    this.#read();
    if (this.#keys.length > 1) return;
    if (this.isKeptElsewhere) throw notOurs(NEW_KEY_ELSEWHERE);
    replaceKeyFile(this.#file, [randomBytes(32), this.#first.key]);
    this.#read();
  }

  forgetOld(): void {
    this.#read();
    if (this.#keys.length === 1) return;
    if (this.isKeptElsewhere) throw notOurs(OLD_KEY_ELSEWHERE);
    const waitMs = statSync(this.#file).mtimeMs + KEPT_AT_LEAST_MS - Date.now();
    if (waitMs > 0) throw tooEarly(waitMs);
    replaceKeyFile(this.#file, [this.#first.key]);
    this.#read();
  }

  get #first(): OneKey {
    return this.#keys[0] as OneKey;
  }

  /** Reads the keys again if they are in another file than before; those known stay while they cannot be had from elsewhere. */
  #follow(): void {
    if (this.#look() === this.#seen || performance.now() < this.#notBefore) return;
    try {
      this.#read();
    } catch (error) {
      if (!this.isKeptElsewhere) throw error;
      this.#notBefore = performance.now() + AGAIN_MS;
    }
  }

  #look(): string {
    const own = markOf(statSync(this.#file));
    return this.#elsewhere === undefined
      ? own
      : `${own} ${markOf(statSync(this.#elsewhere, { throwIfNoEntry: false }))}`;
  }

  /** @throws HmsError if there are none, or none of those known where something else puts them: that is no replacement */
  #read(): void {
    const elsewhere = keptElsewhere(this.#file);
    this.#elsewhere = elsewhere;
    const seen = this.#look();
    const keys = readKeyFile(this.#file).map(namedKey);
    const isStranger = this.#keys.length > 0 && !keys.some(({ id }) => this.#keys.some((known) => known.id === id));
    if (isStranger && elsewhere !== undefined) throw allGone(elsewhere, this.id);
    this.#keys = keys;
    this.#seen = seen;
  }
}

const markOf = (stats: { ino: number; mtimeMs: number; ctimeMs: number; size: number } | undefined) =>
  stats === undefined ? "-" : `${stats.ino} ${stats.mtimeMs} ${stats.ctimeMs} ${stats.size}`;

const wrapAad = (context: readonly string[], id: string) => lengthPrefixed(["hms.dek", "v1", ...context, id]);
const dataAad = (context: readonly string[]) => lengthPrefixed(["hms.secret", "v1", ...context]);

function tooEarly(waitMs: number): HmsError {
  const message = `The key was replaced less than an hour ago, and sign-ins that have begun before may need the old one. Forget it in ${Math.ceil(waitMs / 60_000)} minutes.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "OLD_KEY_IN_USE", retryAfterMs: waitMs });
}

function notOurs(how: string): HmsError {
  const message = `The sealing key is kept where the key file says, and nothing is written there by the platform. ${how}`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "SEALING_KEY_ELSEWHERE" });
}

function allGone(file: string, id: string): HmsError {
  const message = `The key ${id} that everything is sealed by is not in ${file} any more. Put it back, below a new one if there is one; until then it is used as it was read.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "SEALING_KEY_GONE" });
}

function otherKey(needed: string, present: string): HmsError {
  const message = `This secret was sealed with the key ${needed}, but the key file holds ${present}. Restore the key file that belongs to this database.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "OTHER_SEALING_KEY", metadata: { needed, present } });
}

function damaged(context: readonly string[], cause?: unknown): HmsError {
  const message = `The sealed secret ${context.join("/")} was changed or belongs elsewhere; it is not used. Restore it from a backup.`;
  return new HmsError("DATA_LOSS", message, { reason: "SEALED_SECRET_DAMAGED", cause });
}

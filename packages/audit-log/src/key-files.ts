import { generateKeyPairSync, randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { HmsError } from "@hms/kernel";
import { type SealingKey, sealedBy } from "@hms/secrets";
import { keyId, nextEpochKey } from "./chain.ts";
import { CheckpointSigner } from "./checkpoint.ts";

const ROOT_FILE = "root.json";
const CHAIN_FILE = "chain.json";
const SIGNING_FILE = "checkpoint-key.json";
/** What verifies checkpoints, PEM; no secret. */
export const PUBLIC_KEY_FILE = "checkpoint-key.pem";

/** What a key file holds. */
interface SealedKey {
  /** Which key it is, without telling it. */
  readonly id: string;
  readonly epoch: number;
  /** The UTC day of its first use, "2026-11-27". */
  readonly since: string;
  /** Sealed by the installation's key, base64. */
  readonly sealed: string;
}

/** The keys of an installation's audit log. */
export interface AuditKeys {
  readonly epoch: number;
  /** The key of the present epoch. */
  readonly epochKey: Buffer;
  readonly signer: CheckpointSigner;
  /** Goes on to the epoch of this UTC day ("2026-11-27"), and at least to `leastEpoch`; what went before is wiped. */
  advance(day: string, leastEpoch?: number): void;
}

/**
 * Opens the keys in a folder and makes them at the first start. Day by day the chain key is replaced by the one that
 * follows from it. The first one is kept beside it, for verification only: whoever takes `root.json` away from this machine
 * leaves nothing here by which the log of earlier days could be written anew.
 * @throws HmsError FAILED_PRECONDITION if keys are missing although `hasLog`, DATA_LOSS if one was changed.
 */
export function openAuditKeys(folder: string, sealing: SealingKey, hasLog: boolean): AuditKeys {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const chainFile = join(folder, CHAIN_FILE);
  let held = read(chainFile) ?? begin(folder, sealing, hasLog);
  let epochKey = open(held, sealing);
  const signer = openSigner(folder, sealing);
  resealAuditKeys(folder, sealing);
  return {
    signer,
    get epoch() {
      return held.epoch;
    },
    get epochKey() {
      return epochKey;
    },
    advance(day, leastEpoch = 0) {
      let { epoch } = held;
      let key = epochKey;
      const target = Math.max(leastEpoch, day > held.since ? epoch + 1 : epoch);
      if (epoch === target) return;
      for (; epoch < target; epoch += 1) key = nextEpochKey(key);
      const next = seal({ epoch, key, since: day > held.since ? day : held.since }, sealing);
      replace(chainFile, next);
      epochKey.fill(0);
      [held, epochKey] = [next, key];
    },
  };
}

/**
 * The first chain key, by which a log is verified.
 * @throws HmsError FAILED_PRECONDITION if it is not there, or was sealed by another installation.
 */
export function readVerificationRoot(path: string, sealing: SealingKey): Buffer {
  const held = read(path);
  if (held !== undefined) return open(held, sealing);
  const message = `${path} is not there: without the first chain key nothing can be verified. Name the place where you keep it with --root.`;
  throw new HmsError("FAILED_PRECONDITION", message, { reason: "AUDIT_ROOT_MISSING" });
}

/** Where the first chain key is unless it was taken away. */
export function verificationRootPath(folder: string): string {
  return join(folder, ROOT_FILE);
}

/**
 * Seals anew what a key has sealed that was replaced since, the first chain key only if it is here; answers with how many.
 * @throws HmsError DATA_LOSS if one was changed
 */
export function resealAuditKeys(folder: string, sealing: SealingKey): number {
  let resealed = 0;
  for (const file of [ROOT_FILE, CHAIN_FILE, SIGNING_FILE].map((name) => join(folder, name))) {
    const held = read(file);
    if (held === undefined) continue;
    const anew = sealing.reseal(Buffer.from(held.sealed, "base64"), contextOf(held.id, held.epoch));
    if (anew === undefined) continue;
    replace(file, { ...held, sealed: anew.toString("base64") });
    resealed += 1;
  }
  return resealed;
}

/** The ids of the sealing keys that the keys in a folder need, with the file that does. */
export function auditKeysSealedBy(folder: string): Map<string, string> {
  const files = [ROOT_FILE, CHAIN_FILE, SIGNING_FILE].map((name) => join(folder, name));
  return new Map(
    files.flatMap((file) => {
      const held = read(file);
      return held === undefined ? [] : [[sealedBy(Buffer.from(held.sealed, "base64")), file] as const];
    }),
  );
}

function begin(folder: string, sealing: SealingKey, hasLog: boolean): SealedKey {
  const rootFile = join(folder, ROOT_FILE);
  const since = new Date().toISOString().slice(0, 10);
  if (read(rootFile) === undefined) {
    if (hasLog) throw lost(folder);
    replace(rootFile, seal({ epoch: 0, key: randomBytes(32), since }, sealing));
  }
  const root = read(rootFile) as SealedKey;
  replace(join(folder, CHAIN_FILE), root);
  return root;
}

function lost(folder: string): HmsError {
  const message = `The audit log has events, but its keys in ${folder} are gone; events wait in their spools. Restore the folder from a backup.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "AUDIT_KEYS_MISSING" });
}

function openSigner(folder: string, sealing: SealingKey): CheckpointSigner {
  const file = join(folder, SIGNING_FILE);
  const held = read(file);
  const der = held
    ? open(held, sealing)
    : generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
  const signer = new CheckpointSigner(der);
  if (held === undefined) {
    replace(file, seal({ epoch: 0, key: der, since: new Date().toISOString().slice(0, 10) }, sealing));
  }
  writeFileSync(join(folder, PUBLIC_KEY_FILE), signer.publicKey, { mode: 0o600 });
  return signer;
}

const contextOf = (id: string, epoch: number) => ["communication", "audit-key", id, String(epoch)];

function seal({ epoch, key, since }: { epoch: number; key: Buffer; since: string }, sealing: SealingKey): SealedKey {
  const id = keyId(key);
  return { id, epoch, since, sealed: sealing.seal(key, contextOf(id, epoch)).toString("base64") };
}

function open({ id, epoch, sealed }: SealedKey, sealing: SealingKey): Buffer {
  return sealing.open(Buffer.from(sealed, "base64"), contextOf(id, epoch));
}

function read(path: string): SealedKey | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new HmsError("DATA_LOSS", `${path} cannot be read: ${(error as Error).message}. Restore it from a backup.`);
  }
}

/** Puts a file in the place of another at once, and overwrites what the old one held. */
function replace(path: string, value: SealedKey): void {
  const draft = `${path}.new`;
  writeFileSync(draft, `${JSON.stringify(value)}\n`, { mode: 0o600, flush: true });
  const old = openOld(path);
  renameSync(draft, path);
  const folder = openSync(dirname(path), "r");
  fsyncSync(folder);
  closeSync(folder);
  if (old === undefined) return;
  writeSync(old.handle, Buffer.alloc(old.bytes), 0, old.bytes, 0);
  fsyncSync(old.handle);
  closeSync(old.handle);
}

function openOld(path: string): { handle: number; bytes: number } | undefined {
  try {
    return { bytes: statSync(path).size, handle: openSync(path, "r+") };
  } catch {
    return undefined;
  }
}

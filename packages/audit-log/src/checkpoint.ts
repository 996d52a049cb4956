import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";

/** How far one chain went. */
export interface CheckpointShard {
  readonly seq: number;
  /** Base64. */
  readonly mac: string;
}

/** What a checkpoint says: this far each chain went at this time. */
export interface Checkpoint {
  /** From 1 on, without gaps. */
  readonly number: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  /** SHA-256 of the line before, hexadecimal; empty for the first. */
  readonly previous: string;
  readonly shards: Readonly<Record<string, CheckpointShard>>;
  /** Up to where chains were removed when their time was over: what is missing before is no loss. */
  readonly removed?: Readonly<Record<string, CheckpointShard>>;
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** SHA-256 of a checkpoint's line, which the next one holds. */
export function checkpointHash(line: string): string {
  return createHash("sha256").update(line).digest("hex");
}

/** Signs checkpoints: each is a line, a compact JWS (RFC 7515) by Ed25519 (RFC 8037). */
export class CheckpointSigner {
  readonly #key: KeyObject;
  /** What verifies the signatures, PEM. */
  readonly publicKey: string;
  readonly #header: string;

  /** @param privateKey PKCS #8, DER */
  constructor(privateKey: Uint8Array) {
    this.#key = createPrivateKey({ key: Buffer.from(privateKey), format: "der", type: "pkcs8" });
    this.publicKey = createPublicKey(this.#key).export({ format: "pem", type: "spki" }) as string;
    this.#header = encode({ alg: "EdDSA", typ: "hms-audit-checkpoint", kid: publicKeyId(this.publicKey) });
  }

  sign(checkpoint: Checkpoint): string {
    const signed = `${this.#header}.${encode(checkpoint)}`;
    return `${signed}.${sign(null, Buffer.from(signed), this.#key).toString("base64url")}`;
  }
}

/** Names a public key: the first 16 hexadecimal digits of its SHA-256. */
export function publicKeyId(pem: string): string {
  const der = createPublicKey(pem).export({ format: "der", type: "spki" });
  return createHash("sha256").update(der).digest("hex").slice(0, 16);
}

/** Reads one checkpoint; undefined if it is none or the key has not signed it. */
export function readCheckpoint(line: string, publicKey: string): Checkpoint | undefined {
  const [header = "", payload = "", signature = "", ...more] = line.split(".");
  if (more.length > 0 || signature === "") return undefined;
  try {
    if (JSON.parse(Buffer.from(header, "base64url").toString()).alg !== "EdDSA") return undefined;
    const signed = Buffer.from(`${header}.${payload}`);
    if (!verify(null, signed, createPublicKey(publicKey), Buffer.from(signature, "base64url"))) return undefined;
    return JSON.parse(Buffer.from(payload, "base64url").toString());
  } catch {
    return undefined;
  }
}

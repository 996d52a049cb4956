import { createHash, createHmac, createSecretKey, hkdfSync, type KeyObject } from "node:crypto";

/** What stands before a chain's first event. */
export const CHAIN_START: Buffer = Buffer.alloc(32);

/**
 * The key after this one (HKDF-SHA256, RFC 5869): who has it cannot find the one before, and so cannot rewrite what was
 * written under that.
 */
export function nextEpochKey(key: Uint8Array): Buffer {
  return Buffer.from(hkdfSync("sha256", key, "hms-audit-v1", "next epoch", 32));
}

/** The key of one chain in an epoch. */
export function shardKey(epochKey: Uint8Array, shard: string): KeyObject {
  // As bytes it would be made one for every event, which costs more than all the rest.
  return createSecretKey(Buffer.from(hkdfSync("sha256", epochKey, "hms-audit-v1", `shard:${shard}`, 32)));
}

/** HMAC-SHA256 over the mac before and an event's bytes: what links each event to all before it. */
export function chainMac(key: KeyObject, previous: Uint8Array, event: Uint8Array): Buffer {
  return createHmac("sha256", key).update(previous).update(event).digest();
}

/** Names a key without telling it. */
export function keyId(key: Uint8Array): string {
  return createHash("sha256").update("hms-audit-v1").update(key).digest("hex").slice(0, 16);
}

/** Finds the keys of all epochs from the first one on. */
export class EpochKeys {
  readonly #keys: Buffer[];
  readonly #shards = new Map<string, KeyObject>();

  /** @param root the key of epoch 0 */
  constructor(root: Uint8Array) {
    this.#keys = [Buffer.from(root)];
  }

  /** The key of a chain in an epoch. @throws RangeError beyond 100,000 epochs, some 270 years */
  keyOf(shard: string, epoch: number): KeyObject {
    const name = `${epoch} ${shard}`;
    const known = this.#shards.get(name);
    if (known !== undefined) return known;
    const key = shardKey(this.#epoch(epoch), shard);
    this.#shards.set(name, key);
    return key;
  }

  #epoch(epoch: number): Buffer {
    if (!(epoch >= 0 && epoch <= 100_000)) throw new RangeError(`There is no epoch ${epoch}.`);
    for (let last = this.#keys.at(-1) as Buffer; this.#keys.length <= epoch; ) {
      last = nextEpochKey(last);
      this.#keys.push(last);
    }
    return this.#keys[epoch] as Buffer;
  }
}

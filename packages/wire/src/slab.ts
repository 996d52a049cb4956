/** Node's own pool of 8 KiB is used up by some twenty calls. */
const SLAB_BYTES = 64 * 1024;
/** Larger ones would waste what is left of a slab. */
const LARGEST = 4 * 1024;

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let used = 0;

/** Room for bytes that live as long as a call does, not cleared. */
export function shortLived(length: number): Buffer {
  if (length > LARGEST) return Buffer.allocUnsafe(length);
  if (used + length > SLAB_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    used = 0;
  }
  const from = used;
  used += length;
  return slab.subarray(from, used);
}

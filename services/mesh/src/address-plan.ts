import { addressesExhausted, environmentsExhausted } from "./errors.ts";

const FIRST_DNS_OCTET = 53;
const LAST_OCTET = 254;
const BLOCKS = 255;

/** How many services an installation can name, in environments that it has: 127.x.1.1 to 127.x.255.254 without .0 and .255. */
export const VIP_COUNT = BLOCKS * LAST_OCTET;

/** How many environments an installation can have at once: name servers 127.x.0.53 to 127.x.0.254. */
export const ENVIRONMENT_COUNT = LAST_OCTET - FIRST_DNS_OCTET + 1;

/**
 * The loopback address of the service in a slot; slots are given from 0, and not to another one while
 * there are new ones.
 * @throws HmsError RESOURCE_EXHAUSTED past the last address.
 */
export function vipOf(prefix: string, slot: number): string {
  if (slot >= VIP_COUNT) throw addressesExhausted(prefix);
  return `${prefix}.${1 + Math.floor(slot / LAST_OCTET)}.${1 + (slot % LAST_OCTET)}`;
}

/**
 * The name server's address of the environment in a slot; slot 0 is "default".
 * @throws HmsError RESOURCE_EXHAUSTED past the last address.
 */
export function dnsAddressOf(prefix: string, slot: number): string {
  if (slot >= ENVIRONMENT_COUNT) throw environmentsExhausted();
  return `${prefix}.0.${FIRST_DNS_OCTET + slot}`;
}

/** The first slot from 0 that is not among these. */
export function lowestFree(taken: readonly number[]): number {
  const all = new Set(taken);
  let slot = 0;
  while (all.has(slot)) slot += 1;
  return slot;
}

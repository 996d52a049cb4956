import { clientNetwork } from "./client-network.ts";
import type { SplitMatch, SplitTerms, StickyKey } from "./split-terms.ts";

/** What of a request decides which side it belongs to. */
export interface SplitFacts {
  /** Names and values, one after the other. */
  rawHeaders: readonly string[];
  /** The client's address. */
  address: string;
  /** The value of X-Forwarded-For; "": none. */
  forwardedFor: string;
  /** Whether X-Forwarded-For is believed: in the mesh, where every address is this machine's. */
  trustsOrigin: boolean;
}

/** Parts that traffic is divided into. */
export const SHARES = 10_000;

const FNV_OFFSET = 2_166_136_261;
const FNV_PRIME = 16_777_619;
/** 2^32 divided by the golden ratio: steps of it fall into every part as often as its size says (Weyl). */
const GOLDEN_STEP = 2_654_435_769;
const WHOLE = 2 ** 32;

/** FNV-1a over the characters of a text, going on from what was hashed before. */
function fnv1a(text: string, before = FNV_OFFSET): number {
  let hash = before;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
  return hash >>> 0;
}

/** The finalizer of MurmurHash3: each bit depends on all, where FNV-1a alone leaves texts that differ at their end together. */
function finished(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

const partOf = (point: number) => Math.floor((point / WHOLE) * SHARES);

/** Deals out requests that nobody is known by: of any hundred in a row one is within a share of 1 %, give or take one. */
export class RequestDealer {
  #point: number;

  /** `start` is anything from 0 to 1. */
  constructor(start = Math.random()) {
    this.#point = Math.floor(start * WHOLE) >>> 0;
  }

  /** The part that the next request falls into, 0 to 9,999. */
  next(): number {
    this.#point = (this.#point + GOLDEN_STEP) >>> 0;
    return partOf(this.#point);
  }
}

/**
 * Says which requests belong to the tried revision. The same client gets the same answer as long as the share stays; a
 * larger share only adds clients. Which clients come first is another choice for each revision.
 */
export class SplitChoice {
  readonly #terms: SplitTerms;
  readonly #salt: number;
  readonly #dealer: RequestDealer;

  /** `scope` names the service; the dealer outlives the terms, so that changes of the share begin nothing anew. */
  constructor(terms: SplitTerms, { scope, dealer }: { scope: string; dealer: RequestDealer }) {
    this.#terms = terms;
    this.#salt = fnv1a(`${scope} ${terms.revision} `);
    this.#dealer = dealer;
  }

  /** Whether a request belongs to the tried revision. */
  isTried(facts: SplitFacts): boolean {
    const { share, matches, sticky } = this.#terms;
    if (share >= SHARES) return true;
    for (const match of matches) if (fits(match, facts.rawHeaders)) return true;
    if (share <= 0) return false;
    const key = sticky === null ? null : stickyKey(sticky, facts);
    return (key === null ? this.#dealer.next() : partOf(finished(fnv1a(key, this.#salt)))) < share;
  }
}

function stickyKey(sticky: StickyKey, facts: SplitFacts): string | null {
  if (sticky.by === "address") return originOf(facts);
  const value = firstValue(sticky.by, sticky.name, facts.rawHeaders);
  return value === null || value === "" ? originOf(facts) : value;
}

/** Where a request comes from first; null: all that is known is that it comes from this machine, as everything here. */
function originOf({ address, forwardedFor, trustsOrigin }: SplitFacts): string | null {
  if (!trustsOrigin) return clientNetwork(address);
  const first = forwardedFor.split(",", 1)[0]?.trim() ?? "";
  return first === "" ? null : clientNetwork(first);
}

function fits({ in: place, name, value }: SplitMatch, rawHeaders: readonly string[]): boolean {
  if (place === "cookie") {
    const cookie = firstValue("cookie", name, rawHeaders);
    return cookie !== null && (value === "" || cookie === value);
  }
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (isNamed(rawHeaders[i] as string, name) && (value === "" || rawHeaders[i + 1] === value)) return true;
  }
  return false;
}

/** The first value; null: there is none. */
function firstValue(place: "header" | "cookie", name: string, rawHeaders: readonly string[]): string | null {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const field = rawHeaders[i] as string;
    const text = rawHeaders[i + 1] as string;
    if (place === "header") {
      if (isNamed(field, name)) return text;
    } else if (isNamed(field, "cookie")) {
      const value = cookieValue(text, name);
      if (value !== null) return value;
    }
  }
  return null;
}

function isNamed(field: string, name: string): boolean {
  return field.length === name.length && (field === name || field.toLowerCase() === name);
}

/** The value of the first cookie of that name, without the quotes that it may stand in (RFC 6265 §4.2.1). */
function cookieValue(text: string, name: string): string | null {
  let start = 0;
  while (start < text.length) {
    const found = text.indexOf(";", start);
    const end = found < 0 ? text.length : found;
    const equals = text.indexOf("=", start);
    if (equals >= 0 && equals < end && text.slice(start, equals).trim() === name) {
      const value = text.slice(equals + 1, end).trim();
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
    start = end + 1;
  }
  return null;
}

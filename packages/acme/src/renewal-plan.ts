import { createHash } from "node:crypto";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** A certificate is renewed when this part of its life is over … */
const RENEW_AFTER = 2 / 3;
/** … and up to this part later, so that certificates of one day are not renewed in one minute. */
const SPREAD = 1 / 20;
const LONGEST_WAIT_MS = 12 * HOUR_MS;

/** From when until when a certificate is good, milliseconds since 1970. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** When an authority would like a certificate to be renewed (RFC 9773 §4.2). */
export interface SuggestedWindow {
  readonly start: number;
  readonly end: number;
}

/** What else the moment of a renewal depends on. */
export interface RenewalTerms {
  /** Says which certificate it is. */
  readonly seed: string;
  readonly window?: SuggestedWindow | undefined;
  /** When the certificate came, milliseconds since 1970. */
  readonly obtainedAt?: number | undefined;
}

/**
 * When a certificate is to be renewed: at a moment of the authority's window that is the certificate's own, else after
 * two thirds of its life and up to a twentieth more. Always the same for one certificate, however often it is asked; not
 * within an hour (or a third of a shorter life) of having come, whatever the authority would like.
 */
export function renewalTime(validity: Validity, { seed, window, obtainedAt = 0 }: RenewalTerms): number {
  const { notBefore, notAfter } = validity;
  const life = notAfter - notBefore;
  const share = fractionOf(seed);
  const isUsable = window !== undefined && window.start < window.end && window.start < notAfter;
  const wanted = isUsable
    ? Math.min(window.start + share * (window.end - window.start), notAfter - life * SPREAD)
    : notBefore + (RENEW_AFTER + share * SPREAD) * life;
  return Math.max(wanted, obtainedAt + Math.min(HOUR_MS, life / 3));
}

/** An even number from 0 up to 1 that belongs to a text. */
function fractionOf(seed: string): number {
  return createHash("sha256").update(seed).digest().readUInt32BE(0) / 2 ** 32;
}

/** What is known of attempts that failed. */
export interface FailedAttempts {
  /** In a row, this one included. */
  readonly failures: number;
  /** Whether the authority has judged; otherwise it could not be asked. */
  readonly isJudged: boolean;
  /** What the authority asked for; 0: nothing. */
  readonly retryAfterMs: number;
  /** From 0 up to 1. */
  readonly random: number;
}

/**
 * How long to wait after a failure: 5 minutes if the authority has judged (Let's Encrypt takes five failures an hour),
 * 1 minute if it could not be asked, each time three times as long up to 12 hours, a fifth more or less; never
 * shorter than the authority asked for.
 */
export function waitAfter({ failures, isJudged, retryAfterMs, random }: FailedAttempts): number {
  const first = isJudged ? 5 * MINUTE_MS : MINUTE_MS;
  const grown = Math.min(first * 3 ** Math.min(failures - 1, 20), LONGEST_WAIT_MS);
  return Math.max(grown * (0.8 + 0.4 * random), retryAfterMs);
}

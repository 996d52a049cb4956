import { createPublicKey, type KeyObject } from "node:crypto";
import { AcmeProblem, type ProblemDocument, problemOf } from "./acme-problem.ts";
import type { Exchange, ExchangeAnswer } from "./https-exchange.ts";

/** What an authority offers, and where (RFC 8555 §7.1.1, RFC 9773 §3). */
export interface Directory {
  readonly newNonce: string;
  readonly newAccount: string;
  readonly newOrder: string;
  readonly renewalInfo?: string;
  readonly meta?: { readonly termsOfService?: string; readonly externalAccountRequired?: boolean };
}

/** An answer that was no problem. */
export interface AcmeAnswer<T> {
  readonly body: T;
  readonly text: string;
  /** What the answer is about, where it says so. */
  readonly location: string | undefined;
  /** When to ask again, milliseconds; 0: it does not say. */
  readonly retryAfterMs: number;
}

const MOST_NONCES = 8;
/** An authority that takes no nonce of its own is broken; pebble refuses 5 % of good ones to see who asks again. */
const BAD_NONCE_RETRIES = 5;

/** Reads a directory. Raises AcmeProblem. */
export async function readDirectory(exchange: Exchange, url: string): Promise<Directory> {
  const directory = bodyOf<Directory>(await exchange({ method: "GET", url }), url).body;
  const missing = (["newNonce", "newAccount", "newOrder"] as const).filter(
    (key) => typeof directory?.[key] !== "string",
  );
  if (missing.length === 0) return directory;
  throw new AcmeProblem("unreachable", `${url} is no ACME directory: it has no ${missing.join(", ")}`);
}

/** A conversation with one authority as one account: signed requests (RFC 8555 §6.2), each with a fresh nonce. */
export class AcmeSession {
  readonly directory: Directory;
  /** The account's address; undefined until it is known. */
  account: string | undefined;
  readonly #exchange: Exchange;
  readonly #key: KeyObject;
  readonly #nonces: string[] = [];

  constructor(exchange: Exchange, directory: Directory, key: KeyObject) {
    this.#exchange = exchange;
    this.directory = directory;
    this.#key = key;
  }

  /** What a challenge is answered with (RFC 8555 §8.1). */
  async keyAuthorization(token: string): Promise<string> {
    const { calculateJwkThumbprint } = await import("jose");
    return `${token}.${await calculateJwkThumbprint(this.#publicKey())}`;
  }

  /** Asks for what is at an address, as the account. Raises AcmeProblem. */
  read<T>(url: string): Promise<AcmeAnswer<T>> {
    return this.post<T>(url, undefined);
  }

  /** Sends a signed request; without a payload it only reads. Raises AcmeProblem. */
  async post<T>(url: string, payload: object | undefined): Promise<AcmeAnswer<T>> {
    for (let attempt = 0; ; attempt += 1) {
      const body = await this.#signed(url, payload);
      const answer = await this.#exchange({ method: "POST", url, body });
      this.#keepNonce(answer);
      try {
        return bodyOf<T>(answer, url);
      } catch (error) {
        if (!(error instanceof AcmeProblem && error.kind === "badNonce") || attempt >= BAD_NONCE_RETRIES) throw error;
      }
    }
  }

  async #signed(url: string, payload: object | undefined): Promise<string> {
    const { FlattenedSign } = await import("jose");
    const nonce = await this.#nonce();
    const who = this.account === undefined ? { jwk: this.#publicKey() } : { kid: this.account };
    const text = payload === undefined ? "" : JSON.stringify(payload);
    const signing = new FlattenedSign(new TextEncoder().encode(text));
    signing.setProtectedHeader({ alg: "ES256", nonce, url, ...who });
    return JSON.stringify(await signing.sign(this.#key));
  }

  #publicKey() {
    return createPublicKey(this.#key).export({ format: "jwk" }) as { kty: string; crv: string; x: string; y: string };
  }

  async #nonce(): Promise<string> {
    const kept = this.#nonces.pop();
    if (kept !== undefined) return kept;
    const url = this.directory.newNonce;
    const answer = await this.#exchange({ method: "HEAD", url });
    const nonce = answer.headers["replay-nonce"];
    if (typeof nonce === "string") return nonce;
    throw new AcmeProblem("unreachable", `${url} gives no nonce (HTTP ${answer.status})`, {
      retryAfterMs: retryAfterOf(answer),
    });
  }

  #keepNonce({ headers }: ExchangeAnswer): void {
    const nonce = headers["replay-nonce"];
    if (typeof nonce === "string" && this.#nonces.length < MOST_NONCES) this.#nonces.push(nonce);
  }
}

/** What an answer says; raises AcmeProblem if it is a failure. */
export function bodyOf<T>(answer: ExchangeAnswer, url: string): AcmeAnswer<T> {
  const { status, headers, text } = answer;
  const retryAfterMs = retryAfterOf(answer);
  const isJson = /[/+]json/.test(headers["content-type"] ?? "");
  const body = isJson ? parsed(text) : undefined;
  if (status >= 200 && status < 300) return { body: body as T, text, location: headers.location, retryAfterMs };
  if (isJson && typeof body === "object" && body !== null)
    throw problemOf(body as ProblemDocument, { retryAfterMs, status });
  const kind = status === 429 ? "rateLimited" : "unreachable";
  throw new AcmeProblem(kind, `${new URL(url).host} answers HTTP ${status}`, { retryAfterMs, status });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Seconds or a date (RFC 9110 §10.2.3). */
function retryAfterOf({ headers }: ExchangeAnswer): number {
  const text = headers["retry-after"];
  if (text === undefined) return 0;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(ms, 0) : 0;
}

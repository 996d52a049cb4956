import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";

/** Where things about ACME lie. */
export interface AcmePlaces {
  /** Account keys, certificates and what is known of orders, mode 0700; the server's alone. */
  readonly folder: string;
  /** Where the gateway looks for certificates. */
  readonly certificates: string;
  /** What the gateway answers to authorities, a file for each token. */
  readonly challenges: string;
}

/** What is known of a name's certificate beside the certificate itself. */
export interface NameProgress {
  /** An order that was begun. */
  readonly order?: string | undefined;
  /** The directory that the order and the failures are of. */
  readonly directory: string;
  /** The directory that the certificate is of; absent: there is none. */
  readonly issuedBy?: string | undefined;
  /** When the operator had asked last, at that failure: who asks again need not wait. */
  readonly askedAt?: string;
  /** When the certificate came, milliseconds since 1970. */
  readonly obtainedAt?: number | undefined;
  /** Attempts that failed in a row. */
  readonly failures: number;
  /** Milliseconds since 1970; 0: at once. */
  readonly nextAttemptAt: number;
  /** Why the last attempt failed. */
  readonly problem?: { readonly kind: string; readonly message: string; readonly at: number };
  /** When the authority would like the certificate to be renewed, and which one that was said of. */
  readonly window?: { readonly certificate: string; readonly start: number; readonly end: number };
}

/** An account at an authority. */
export interface KnownAccount {
  readonly url: string;
  /** Whom the authority writes to. */
  readonly mail?: string | undefined;
}

const CHALLENGE_TOKEN = /^[\w-]{1,256}$/;

/** The files of ACME: everything 0600, written beside and moved, so that nobody sees a half of one. */
export class AcmeFolder {
  readonly places: AcmePlaces;

  constructor(places: AcmePlaces) {
    this.places = places;
  }

  /** The account's key at a directory, made at first use. Raises FAILED_PRECONDITION if others can read it. */
  accountKey(directory: string): KeyObject {
    const file = `${this.#account(directory)}/account.key`;
    if (!existsSync(file)) put(file, newKey());
    if ((statSync(file).mode & 0o077) !== 0) {
      const message = `${file} can be read by others, who could get certificates for your names. Run: chmod 600 ${file}`;
      throw new HmsError("FAILED_PRECONDITION", message, { reason: "CONFIG_FILE_OPEN" });
    }
    return createPrivateKey(readFileSync(file));
  }

  /** The account at a directory, once there is one. */
  account(directory: string): KnownAccount | undefined {
    return jsonIn<KnownAccount>(`${this.#account(directory)}/account.json`);
  }

  /** Keeps the account; undefined: forgets it. */
  keepAccount(directory: string, account: KnownAccount | undefined): void {
    const file = `${this.#account(directory)}/account.json`;
    if (account === undefined) rmSync(file, { force: true });
    else put(file, JSON.stringify({ directory, ...account }));
  }

  /** What is known of a name. */
  progress(name: string): NameProgress | undefined {
    return jsonIn<NameProgress>(`${this.#name(name)}/progress.json`);
  }

  /** Keeps what is known of a name. */
  keepProgress(name: string, progress: NameProgress): void {
    put(`${this.#name(name)}/progress.json`, JSON.stringify(progress));
  }

  /** The private key for the certificate that is being ordered: the same one until there is a certificate, PEM. */
  nextKey(name: string): string {
    const file = `${this.#name(name)}/next.key`;
    const kept = textIn(file);
    if (kept !== undefined) return kept;
    const made = newKey();
    put(file, made);
    return made;
  }

  /** The certificate of a name with its chain and private key, PEM; undefined: none yet. */
  certificate(name: string): string | undefined {
    return textIn(`${this.#name(name)}/combined.pem`);
  }

  /** Keeps a certificate with the key that it was ordered for. */
  keepCertificate(name: string, chain: string): void {
    put(`${this.#name(name)}/combined.pem`, `${chain.trimEnd()}\n${this.nextKey(name)}`);
  }

  /** The next certificate gets a key of its own. */
  forgetNextKey(name: string): void {
    rmSync(`${this.#name(name)}/next.key`, { force: true });
  }

  /** Shows the gateway the certificates of these names, and no longer those of names that were set before. */
  publish(names: readonly string[]): void {
    for (const name of names) {
      const text = this.certificate(name);
      const file = `${this.#shown(name)}/combined.pem`;
      if (text !== undefined && textIn(file) !== text) put(file, text);
    }
    for (const known of foldersIn(`${this.places.folder}/names`)) {
      if (!names.includes(known)) rmSync(this.#shown(known), { recursive: true, force: true });
    }
  }

  /** Has the gateway answer a challenge until it is withdrawn. */
  answerChallenge(token: string, answer: string): Disposable {
    if (!CHALLENGE_TOKEN.test(token)) throw new TypeError("the authority's token is not of base64url");
    const file = `${this.places.challenges}/${token}`;
    put(file, answer);
    return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
  }

  /** Withdraws answers that a process before this one has left. */
  forgetChallenges(): void {
    rmSync(this.places.challenges, { recursive: true, force: true });
  }

  #account(directory: string): string {
    return `${this.places.folder}/accounts/${createHash("sha256").update(directory).digest("hex").slice(0, 16)}`;
  }

  #shown(name: string): string {
    return `${this.places.certificates}/acme-${name}`;
  }

  #name(name: string): string {
    return `${this.places.folder}/names/${name}`;
  }
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ format: "pem", type: "pkcs8" }) as string;
}

function put(file: string, text: string): void {
  mkdirSync(file.slice(0, file.lastIndexOf("/")), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}

function textIn(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** What cannot be read as JSON was written by nobody here: as if it were not there. */
function jsonIn<T>(file: string): T | undefined {
  const text = textIn(file);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

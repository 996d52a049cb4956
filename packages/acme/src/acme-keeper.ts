import { X509Certificate } from "node:crypto";
import { exchangeFor, openAccount } from "./acme-account.ts";
import type { AcmeFolder } from "./acme-folder.ts";
import { AcmeProblem, remedyFor } from "./acme-problem.ts";
import { type AcmeSession, readDirectory } from "./acme-session.ts";
import type { AcmeSettings } from "./acme-settings.ts";
import { renewalIdOf } from "./certificate-request.ts";
import { dueAt, progressOf } from "./name-state.ts";
import { obtainCertificate } from "./obtain-certificate.ts";
import { askRenewal } from "./renewal-information.ts";
import { waitAfter } from "./renewal-plan.ts";

/** What a keeper is made of. */
export interface AcmeKeeperOptions {
  readonly folder: AcmeFolder;
  /** Does work that one process of the installation at a time may do. */
  readonly exclusively: <T>(work: () => Promise<T>) => Promise<T>;
  readonly log: AcmeLog;
}

/** Who is told what happens. */
interface AcmeLog {
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

const LONGEST_SLEEP_MS = 3600 * 1000;
/** Between two looks, whatever happens. */
const SHORTEST_SLEEP_MS = 250;
/** An authority that cannot say when to renew is asked again then. */
const WINDOW_FAILED_MS = 3600 * 1000;
/** One that never says so, once a day: it may have learned to. */
const NO_WINDOW_MS = 24 * 3600 * 1000;

/** Obtains the certificates that are set, one name after the other, and renews them in time. */
export class AcmeKeeper implements AsyncDisposable {
  readonly #options: AcmeKeeperOptions;
  readonly #ending = new AbortController();
  /** When the authority is asked about a certificate's renewal again, by name. */
  readonly #askAt = new Map<string, number>();
  #settings: AcmeSettings | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isLooking = false;

  constructor(options: AcmeKeeperOptions) {
    this.#options = options;
    options.folder.forgetChallenges();
  }

  /** From now on these hold; undefined: no certificate is obtained, and those that were are no longer shown. */
  use(settings: AcmeSettings | undefined): void {
    this.#settings = settings;
    this.#options.folder.publish(settings?.names ?? []);
    this.#askAt.clear();
    this.#wake(0);
  }

  /** Ends: what runs is left as it is, and carried on by the next one. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#ending.abort(new Error("the server ends"));
    await this.#looking;
  }

  #wake(afterMs: number): void {
    clearTimeout(this.#timer);
    if (this.#ending.signal.aborted || this.#settings === undefined) return;
    this.#timer = setTimeout(() => this.#look(), Math.min(Math.max(afterMs, 0), LONGEST_SLEEP_MS));
    this.#timer.unref();
  }

  #look(): void {
    if (this.#isLooking) {
      this.#wake(SHORTEST_SLEEP_MS);
      return;
    }
    this.#isLooking = true;
    this.#looking = this.#lookAtAll().finally(() => {
      this.#isLooking = false;
    });
  }

  async #lookAtAll(): Promise<void> {
    const settings = this.#settings;
    for (const name of settings?.names ?? []) {
      if (this.#ending.signal.aborted || this.#settings !== settings) break;
      await this.#keep(name, settings as AcmeSettings);
    }
    if (this.#settings !== settings || settings === undefined) return;
    const next = Math.min(...settings.names.map((name) => this.#nextAt(name, settings)));
    this.#wake(Math.max(next - Date.now(), SHORTEST_SLEEP_MS));
  }

  async #keep(name: string, settings: AcmeSettings): Promise<void> {
    try {
      await this.#askWindow(name, settings);
      if (dueAt(name, this.#options.folder, settings) > Date.now()) return;
      await this.#options.exclusively(async () => {
        // Another process may have been faster.
        if (dueAt(name, this.#options.folder, settings) <= Date.now()) await this.#obtain(name, settings);
      });
    } catch (error) {
      if (!this.#ending.signal.aborted) this.#noteFailure(name, settings, error);
    }
  }

  #nextAt(name: string, settings: AcmeSettings): number {
    const { folder } = this.#options;
    const unasked = folder.certificate(name) === undefined ? Number.POSITIVE_INFINITY : 0;
    return Math.min(dueAt(name, folder, settings), this.#askAt.get(name) ?? unasked);
  }

  async #obtain(name: string, settings: AcmeSettings): Promise<void> {
    const { folder, log } = this.#options;
    const { signal } = this.#ending;
    const session = await openAccount(folder, settings, signal);
    const progress = progressOf(name, folder, settings);
    const old = progress.issuedBy === settings.directory ? folder.certificate(name) : undefined;
    const chain = await obtainCertificate({
      name,
      session,
      folder,
      order: progress.order,
      onOrder: (order) => folder.keepProgress(name, { ...progress, order }),
      replaces: await replacedBy(old, session),
      signal,
    });
    folder.keepCertificate(name, chain);
    const issuedBy = settings.directory;
    folder.keepProgress(name, { directory: issuedBy, issuedBy, obtainedAt: Date.now(), failures: 0, nextAttemptAt: 0 });
    folder.forgetNextKey(name);
    if (this.#settings?.names.includes(name)) folder.publish(this.#settings.names);
    this.#askAt.delete(name);
    log.info("a certificate has been obtained", { name, until: new X509Certificate(chain).validToDate.toISOString() });
  }

  #noteFailure(name: string, settings: AcmeSettings, error: unknown): void {
    const { folder, log } = this.#options;
    const problem = error instanceof AcmeProblem ? error : new AcmeProblem("platform", (error as Error).message);
    const { kind, message, retryAfterMs } = problem;
    if (kind === "accountDoesNotExist") folder.keepAccount(settings.directory, undefined);
    const progress = progressOf(name, folder, settings);
    const failures = progress.failures + 1;
    const isJudged = kind !== "unreachable" && kind !== "platform";
    const at = Date.now();
    const nextAttemptAt = at + waitAfter({ failures, isJudged, retryAfterMs, random: Math.random() });
    folder.keepProgress(name, {
      ...progress,
      order: kind === "unusableCertificate" ? undefined : progress.order,
      failures,
      nextAttemptAt,
      problem: { kind, message, at },
      askedAt: settings.askedAt,
    });
    const nextAttempt = new Date(nextAttemptAt).toISOString();
    log.error(`no certificate for ${name}: ${message}. ${remedyFor(kind)}`, { name, kind, failures, nextAttempt });
  }

  /** Hears when the authority would like the certificate to be renewed; without an answer its age decides. */
  async #askWindow(name: string, settings: AcmeSettings): Promise<void> {
    const { folder, log } = this.#options;
    const certificate = folder.certificate(name);
    if (certificate === undefined || (this.#askAt.get(name) ?? 0) > Date.now()) return;
    this.#askAt.set(name, Date.now() + WINDOW_FAILED_MS);
    try {
      const exchange = exchangeFor(settings, this.#ending.signal);
      const found = await askRenewal(exchange, await readDirectory(exchange, settings.directory), certificate);
      this.#askAt.set(name, Date.now() + (found?.askAgainMs ?? NO_WINDOW_MS));
      if (found === undefined) return;
      const window = { ...found.window, certificate: fingerprintOf(certificate) };
      folder.keepProgress(name, { ...progressOf(name, folder, settings), window });
    } catch (error) {
      if (!this.#ending.signal.aborted) log.warn("the authority does not say when to renew", { name, error });
    }
  }
}

const fingerprintOf = (pem: string) => new X509Certificate(pem).fingerprint256;

async function replacedBy(old: string | undefined, { directory }: AcmeSession): Promise<string | undefined> {
  return old === undefined || directory.renewalInfo === undefined ? undefined : renewalIdOf(old);
}

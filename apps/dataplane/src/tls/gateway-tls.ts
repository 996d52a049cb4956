import type { ListenerSet } from "@hms/handover";
import type { ProxyEngine, SecureServer } from "@hms/proxy";
import type { Logger } from "@hms/telemetry";
import { listenProblem } from "../listeners/listen-problem.ts";
import { type CertificateFolder, readCertificateFolder } from "./certificate-folder.ts";
import { certificateMetrics } from "./certificate-metrics.ts";

const LOOK_EVERY_MS = 1000;

/** What the gateway's TLS is made of. */
export interface GatewayTlsOptions {
  readonly engine: ProxyEngine;
  readonly listeners: ListenerSet;
  /** Where certificates are put. */
  readonly folder: string;
  readonly address: string;
  readonly port: number;
  readonly log: Logger;
}

/**
 * The gateway's second port, open while its folder holds certificates. What changes there is shown within a second to
 * new connections, without ending one that stands; files that cannot be used change nothing, and are told of.
 */
export class GatewayTls {
  readonly #options: GatewayTlsOptions;
  #server: SecureServer | undefined;
  #shown = "";
  #metrics = "";
  #problem: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: GatewayTlsOptions) {
    this.#options = options;
  }

  /** Why TLS is not as the files would have it. */
  get problems(): string[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  /** Its metrics in Prometheus text exposition format 0.0.4. */
  get metrics(): string {
    return this.#metrics;
  }

  /** Opens the port if there are certificates, and looks for changes from now on. */
  async start(): Promise<void> {
    await this.#look();
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.start(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** Looks no more; what listens is closed with everything else. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    try {
      const found = readCertificateFolder(this.#options.folder);
      if (found === undefined) this.#close();
      else if (found.digest !== this.#shown) await this.#show(found);
      this.#problem = undefined;
    } catch (error) {
      this.#note((error as Error).message);
    }
  }

  #note(message: string): void {
    const problem = `TLS at the gateway: ${message}`;
    if (problem !== this.#problem) this.#options.log.error(`${problem}; what was served before goes on`);
    this.#problem = problem;
  }

  async #show({ settings, digest, ...terms }: CertificateFolder): Promise<void> {
    const { engine, port, log } = this.#options;
    if (this.#server) this.#server.useCertificates(terms);
    else this.#server = await this.#listen(engine.createSecureServer(engine.gatewayHandler, terms));
    engine.useTls({ port, ...settings });
    this.#shown = digest;
    this.#metrics = certificateMetrics(terms.certificates);
    log.info("the gateway speaks TLS", {
      port,
      certificates: terms.certificates.length,
      asksClients: terms.clientAuthorities !== undefined,
      redirect: settings.redirect,
    });
  }

  async #listen(secure: SecureServer): Promise<SecureServer> {
    const { listeners, address, port } = this.#options;
    try {
      await listeners.listen(secure.server, address, port);
      return secure;
    } catch (cause) {
      throw new Error(`it cannot listen: ${listenProblem(cause, { protocol: "tcp", address, port })}`, { cause });
    }
  }

  #close(): void {
    if (this.#server === undefined) return;
    const { engine, listeners, address, port, log } = this.#options;
    listeners.close({ protocol: "tcp", address, port });
    engine.useTls(undefined);
    this.#server = undefined;
    this.#shown = "";
    this.#metrics = "";
    log.info("the gateway has no certificate any more, and speaks TLS to nobody new", { port });
  }
}

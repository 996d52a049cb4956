import type { GatewayAddress } from "@hms/config";
import type { ListenerSet } from "@hms/handover";
import type { ProxyEngine, SecureServer } from "@hms/proxy";
import type { Logger } from "@hms/telemetry";
import { ListeningPlaces } from "../listeners/listening-places.ts";
import { type CertificateFolder, readCertificateFolder } from "./certificate-folder.ts";
import { certificateMetrics } from "./certificate-metrics.ts";

const HTTPS_PORT = 443;
const LOCAL = "127.0.0.1";
const LOOK_EVERY_MS = 1000;

/** What the gateway's TLS is made of. */
export interface GatewayTlsOptions {
  readonly engine: ProxyEngine;
  readonly listeners: ListenerSet;
  /** Where certificates are put. */
  readonly folder: string;
  /** The port on loopback. */
  readonly port: number;
  /** Where it listens beside loopback, as it is wanted now. */
  readonly others: () => readonly GatewayAddress[];
  readonly log: Logger;
}

/**
 * The gateway's ports for TLS, open while its folder holds certificates. What changes there is shown within a second to
 * new connections, without ending one that stands; files that cannot be used change nothing, and are told of.
 */
export class GatewayTls {
  readonly #options: GatewayTlsOptions;
  readonly #places: ListeningPlaces<SecureServer>;
  #terms: CertificateFolder | undefined;
  #metrics = "";
  #problem: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: GatewayTlsOptions) {
    const { engine, listeners, log } = options;
    this.#options = options;
    this.#places = new ListeningPlaces({
      listeners,
      log,
      what: "gateway's TLS",
      make: () => engine.createSecureServer(engine.gatewayHandler, this.#terms as CertificateFolder),
      serverOf: ({ server }) => server,
    });
  }

  /** Why TLS is not as the files would have it. */
  get problems(): string[] {
    return [...(this.#problem === undefined ? [] : [this.#problem]), ...this.#places.problems];
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
      if (found === undefined) await this.#close();
      else await this.#show(found);
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

  async #show(found: CertificateFolder): Promise<void> {
    const { engine, port, others, log } = this.#options;
    const isNew = found.digest !== this.#terms?.digest;
    if (isNew) {
      for (const server of this.#places.open) server.useCertificates(found);
      this.#terms = found;
    }
    const own = { host: LOCAL, port };
    await this.#places.want([own, ...others()]);
    const { settings, certificates, clientAuthorities } = found;
    // Whoever comes from elsewhere is sent to where TLS is spoken to them; 443 goes without saying.
    const outside = others().filter((address) => this.#places.isOpen(address));
    const outsidePort = (outside.find((address) => address.port === HTTPS_PORT) ?? outside[0])?.port;
    if (this.#places.isOpen(own)) engine.useTls({ port, outsidePort, ...settings });
    if (!isNew) return;
    this.#metrics = certificateMetrics(certificates);
    log.info("the gateway speaks TLS", {
      port,
      certificates: certificates.length,
      asksClients: clientAuthorities !== undefined,
      redirect: settings.redirect,
    });
  }

  async #close(): Promise<void> {
    if (this.#terms === undefined) return;
    const { engine, port, log } = this.#options;
    this.#terms = undefined;
    this.#metrics = "";
    engine.useTls(undefined);
    await this.#places.want([]);
    log.info("the gateway has no certificate any more, and speaks TLS to nobody new", { port });
  }
}

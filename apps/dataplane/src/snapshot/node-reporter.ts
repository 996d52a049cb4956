import type { SensorNews, SensorReport } from "./sensor-report.ts";
import type { ServerLink } from "./server-link.ts";
import { TRAFFIC_MS, type TrafficNews, type TrafficReport } from "./traffic-report.ts";

const HEARTBEAT_MS = 5000;
/** Changes within this time travel together. */
const COALESCE_MS = 50;
const LONGEST_PAUSE_MS = 2000;
const PATIENCE_MS = 2000;
const LAST_WORD_MS = 500;

const NO_NEWS: TrafficNews = { messages: [], confirm: () => {} };

/** What a data plane tells the server about itself. */
export interface NodeReporterOptions {
  link: ServerLink;
  nodeId: string;
  appliedVersion: () => bigint;
  drainingInFlight: () => ReadonlyMap<string, number>;
  traffic: TrafficReport;
  sensors: SensorReport;
  /** Hears whether the server has taken the last report. */
  onOutcome: (reached: boolean) => void;
}

/**
 * Tells the server which snapshot is served and what still runs on endpoints that drain: at once when asked to, within
 * 50 ms when a count changes, and every 5 s; and once a second what was counted of services and sampled of requests, while
 * something is. Tries again until the server has heard it, but for samples.
 */
export class NodeReporter {
  readonly #options: NodeReporterOptions;
  #timer: NodeJS.Timeout | undefined;
  #isSending = false;
  #isDue = false;
  #isClosed = false;
  #isTrafficDue = false;
  #told = "";
  #toldTrafficAt = Number.NEGATIVE_INFINITY;
  #toldAt = Number.NEGATIVE_INFINITY;
  #pauseMs = COALESCE_MS;

  constructor(options: NodeReporterOptions) {
    this.#options = options;
  }

  /** Reports now, because something changed that somebody waits for. */
  report(): void {
    this.#isDue = true;
    if (!this.#isSending) void this.#turn();
  }

  /** Reports everything now, because the server may have begun anew. */
  reportAll(): void {
    this.#options.traffic.forget();
    this.#toldTrafficAt = Number.NEGATIVE_INFINITY;
    this.report();
  }

  /** Reports what was counted now, because a request waits for somebody to hear of it. */
  reportTraffic(): void {
    this.#isTrafficDue = true;
    // What is waited for has to be counted first.
    if (!this.#isSending) this.#turnIn(0);
  }

  /** A count may have changed: looks at them within 50 ms. */
  look(): void {
    if (!this.#isSending) this.#turnIn(COALESCE_MS);
  }

  #turnIn(pauseMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#timer = setTimeout(() => void this.#turn(), pauseMs);
  }

  async #turn(): Promise<void> {
    clearTimeout(this.#timer);
    const inFlight = Object.fromEntries(this.#options.drainingInFlight());
    const counts = JSON.stringify(inFlight);
    const now = performance.now();
    const isQuiet = counts === this.#told && now - this.#toldAt < HEARTBEAT_MS - COALESCE_MS;
    const isCounted = this.#isTrafficDue || now - this.#toldTrafficAt >= TRAFFIC_MS - COALESCE_MS;
    this.#isTrafficDue = false;
    const news = isCounted ? this.#options.traffic.news() : NO_NEWS;
    const sensed = this.#options.sensors.news();
    if (this.#isDue || !isQuiet || news.messages.length > 0 || !sensed.isEmpty) {
      this.#isDue = false;
      this.#isSending = true;
      const reached = await this.#send(inFlight, { ...news, sensed: sensed.sensed });
      this.#isSending = false;
      sensed.settle(reached);
      if (news !== NO_NEWS) this.#toldTrafficAt = now;
      if (reached) this.#noteTold(counts, news);
      else this.#isDue = true;
      this.#options.onOutcome(reached);
      if (!reached) return this.#tryLater();
      if (this.#isDue) return this.report();
    }
    this.#turnIn(this.#isTrafficDue ? 0 : counts === "{}" ? TRAFFIC_MS : COALESCE_MS);
  }

  #noteTold(counts: string, news: TrafficNews): void {
    news.confirm();
    this.#told = counts;
    this.#toldAt = performance.now();
    this.#pauseMs = COALESCE_MS;
  }

  #tryLater(): void {
    this.#turnIn(this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
  }

  async #send(
    drainingInFlight: Record<string, number>,
    { messages, sensed }: Pick<TrafficNews, "messages"> & Partial<Pick<SensorNews, "sensed">>,
    timeoutMs = PATIENCE_MS,
  ): Promise<boolean> {
    const { link, nodeId, appliedVersion } = this.#options;
    const report = { nodeId, appliedVersion: appliedVersion(), drainingInFlight, traffic: [...messages], ...sensed };
    try {
      await link.client.reportNode(report, { timeoutMs });
      return true;
    } catch {
      // The server is away, or starts: it hears it later.
      return false;
    }
  }

  /** Says a last time how things are, for 500 ms at most; then nothing more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const inFlight = Object.fromEntries(this.#options.drainingInFlight());
    await this.#send(inFlight, this.#options.traffic.news(), LAST_WORD_MS);
  }
}

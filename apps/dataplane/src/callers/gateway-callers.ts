import type { CallerAnswer, CallerQuestion, CallerSource } from "@hms/proxy";
import type { ServerLink } from "../snapshot/server-link.ts";
import { CallerCache, type CallerCacheOptions, type Credentials, type Identified } from "./caller-cache.ts";
import { RevocationFeed } from "./revocation-feed.ts";

const PATIENCE_MS = 5000;

/** Who calls routes that ask; the server is followed as long as there are such routes. */
export class GatewayCallers implements CallerSource {
  readonly #link: ServerLink;
  readonly #cache: CallerCache;
  #feed: RevocationFeed | undefined;

  /** Remembers so many of what callers show; default 20,000. */
  constructor(link: ServerLink, { mostRemembered }: Pick<CallerCacheOptions, "mostRemembered"> = {}) {
    this.#link = link;
    this.#cache = new CallerCache({ identify: (question) => this.#identify(question), mostRemembered });
  }

  /** Whether there are routes that ask who calls. */
  want(isWanted: boolean): void {
    if (isWanted === (this.#feed !== undefined)) return;
    this.#feed?.close();
    this.#feed = undefined;
    // Whatever was remembered before, nobody has told of what was revoked since; the silence is counted from here.
    this.#cache.revokeAll();
    if (isWanted) this.#feed = new RevocationFeed(this.#link, this.#cache);
  }

  find(question: CallerQuestion): CallerAnswer | Promise<CallerAnswer> {
    return this.#cache.find(question);
  }

  follow(changed: (names?: readonly string[]) => void): void {
    this.#cache.follow(changed);
  }

  /** Why routes that ask who calls do less than they should. */
  get problems(): string[] {
    if (this.#feed === undefined || !this.#cache.isDeaf) return [];
    const seconds = Math.round(this.#cache.silentMs / 1000);
    return [
      `nothing was heard for ${seconds} s of what is revoked: routes with auth refuse requests that change something`,
    ];
  }

  /** Its metrics in Prometheus text exposition format 0.0.4. */
  metrics(): string {
    const { counts, size } = this.#cache;
    const isHeard = this.#feed !== undefined && !this.#cache.isDeaf;
    return [
      "# HELP hms_gateway_callers_total Credentials shown at routes that ask, by how they were judged.\n",
      "# TYPE hms_gateway_callers_total counter\n",
      ...Object.entries(counts).map(([result, count]) => `hms_gateway_callers_total{result="${result}"} ${count}\n`),
      "# HELP hms_gateway_remembered_callers Credentials that are remembered.\n",
      `# TYPE hms_gateway_remembered_callers gauge\nhms_gateway_remembered_callers ${size}\n`,
      "# HELP hms_gateway_revocations_heard 1 while the server tells what is revoked, 0 if not or nobody asks.\n",
      `# TYPE hms_gateway_revocations_heard gauge\nhms_gateway_revocations_heard ${isHeard ? 1 : 0}\n`,
    ].join("");
  }

  async #identify(question: Credentials): Promise<Identified> {
    const answer = await this.#link.credentials.identify(question, { timeoutMs: PATIENCE_MS });
    if (!answer.known) return undefined;
    const caller = {
      name: `${answer.kind}:${answer.id}`,
      roles: answer.roles,
      hasMfa: answer.mfa,
      authenticatedAtMs: Number(answer.authenticatedAtMs),
      environment: answer.environment,
      isPermitted: answer.permitted,
      isWithinScopes: answer.callsServices,
    };
    return { caller, endsAtMs: Number(answer.endsAtMs) };
  }

  /** Follows the server no more. */
  close(): void {
    this.#feed?.close();
  }
}

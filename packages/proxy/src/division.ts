import { Balancer } from "./balancer.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { ProxyRequest } from "./client-messages.ts";
import type { Endpoint } from "./endpoint.ts";
import type { ServiceMetrics } from "./metrics-registry.ts";
import type { RouteTarget } from "./service.ts";
import { type RequestDealer, SplitChoice, type SplitFacts } from "./split-choice.ts";
import type { SplitTerms } from "./split-terms.ts";

/** Which side of a split a request belongs to, from its beginning to its end. */
export interface Assignment {
  /** The tried revision; 0: the baseline. */
  readonly revision: number;
  /** Whether the other side has taken it. */
  hasCrossed: boolean;
}

/** A request that wants an endpoint. */
export interface Seeker {
  readonly target: RouteTarget;
  /** null: its service had no split when it came. */
  readonly assignment: Assignment | null;
}

/** A request that has just come. */
export interface NewRequest {
  readonly target: RouteTarget;
  readonly request: ProxyRequest;
  readonly client: ClientConnection;
  /** Whether it comes from within the mesh. */
  readonly trustsOrigin: boolean;
}

/** The service that is divided, and what outlives its divisions. */
export interface DivisionScope {
  environment: string;
  name: string;
  metrics: ServiceMetrics;
  dealer: RequestDealer;
}

/** One service's endpoints on two sides, as long as its split and its endpoints stay. */
export class Division {
  readonly #revision: number;
  readonly #choice: SplitChoice;
  readonly #tried: Balancer<Endpoint>;
  readonly #baseline: Balancer<Endpoint>;
  readonly #metrics: ServiceMetrics;

  /** Takes the service's active endpoints. */
  constructor(terms: SplitTerms, active: readonly Endpoint[], { environment, name, metrics, dealer }: DivisionScope) {
    this.#revision = terms.revision;
    this.#choice = new SplitChoice(terms, { scope: `${environment}/${name}`, dealer });
    this.#tried = new Balancer(active.filter(({ revision }) => revision === terms.revision));
    this.#baseline = new Balancer(active.filter(({ revision }) => revision !== terms.revision));
    this.#metrics = metrics;
  }

  /** Which side a new request belongs to. */
  assign(facts: SplitFacts): Assignment {
    return { revision: this.#choice.isTried(facts) ? this.#revision : 0, hasCrossed: false };
  }

  /** The endpoint for an attempt: of the request's own side, or of the other if none of its own accepts connections. */
  pick(assignment: Assignment | null, now: number, passed: readonly Endpoint[]): Endpoint | null {
    const first = this.#own(assignment).pick(now, passed);
    if (first !== null && first.ejectedUntil <= now) return first;
    const other = this.#other(assignment).pick(now, passed);
    if (other === null || (first !== null && other.ejectedUntil > now)) return first;
    if (assignment !== null && !assignment.hasCrossed) this.#noteCrossing(assignment);
    return other;
  }

  /** Whether one of the request's own side accepts connections that is not among those passed over. */
  hasOwn(assignment: Assignment | null, now: number, passed: readonly Endpoint[]): boolean {
    const own = this.#own(assignment).pick(now, passed);
    return own !== null && own.ejectedUntil <= now;
  }

  // One that was meant for a revision that is no longer tried belongs to the baseline.
  #isTried(assignment: Assignment | null): boolean {
    return assignment?.revision === this.#revision;
  }

  #own(assignment: Assignment | null): Balancer<Endpoint> {
    return this.#isTried(assignment) ? this.#tried : this.#baseline;
  }

  #other(assignment: Assignment | null): Balancer<Endpoint> {
    return this.#isTried(assignment) ? this.#baseline : this.#tried;
  }

  #noteCrossing(assignment: Assignment): void {
    assignment.hasCrossed = true;
    if (this.#isTried(assignment)) this.#metrics.triedUnavailable++;
    else this.#metrics.baselineUnavailable++;
  }
}

/** Which side a new request belongs to; null: its service has no split. */
export function assignmentOf({ target, request, client, trustsOrigin }: NewRequest): Assignment | null {
  const { division } = target.service;
  if (division === null) return null;
  const { rawHeaders, head } = request;
  return division.assign({ rawHeaders, address: client.address, forwardedFor: head.forwardedFor, trustsOrigin });
}

/** The endpoint for an attempt, or null if none is left; ejected ones only when there are no others. */
export function pickEndpoint(seeker: Seeker, now: number, passed: readonly Endpoint[]): Endpoint | null {
  const { balancer, division } = seeker.target.service;
  return division === null ? balancer.pick(now, passed) : division.pick(seeker.assignment, now, passed);
}

/** Whether a request that is repeated has somewhere to go but where it was; within a split, on its own side. */
export function hasAnother(seeker: Seeker, now: number, passed: readonly Endpoint[]): boolean {
  const { balancer, division } = seeker.target.service;
  if (division === null) return balancer.pick(now, passed) !== null;
  return division.hasOwn(seeker.assignment, now, passed);
}

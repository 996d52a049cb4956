/** What one replica can do, and how long it takes to come. */
export interface ReplicaAbilities {
  /** Requests in a second, with all of its processor time. */
  requestsPerSecond: number;
  /** What a request takes without waiting, in seconds. */
  serviceSeconds: number;
  /** From the decision until it takes requests, in seconds. */
  startSeconds: number;
  /** A client waits so long, in seconds, then it leaves. */
  patienceSeconds: number;
}

/** What held in one second. */
export interface ModelSecond {
  /** Average of requests at once, those that wait included. */
  concurrency: number;
  /** Share of their processor time that the ready replicas used. */
  cpu: number;
  ready: number;
  /** Requests that wait at the end of it. */
  waiting: number;
  /** Clients that left. */
  lost: number;
}

/**
 * Replicas behind one queue, second by second, as flows and not as single requests: what comes is served up to what the ready
 * replicas can do, the rest waits, and by Little's law what is served is there at once for its service time.
 */
export class ReplicaModel {
  readonly #abilities: ReplicaAbilities;
  /** Seconds until each replica takes requests. */
  #replicas: number[];
  #waiting = 0;

  constructor(abilities: ReplicaAbilities, replicas: number) {
    this.#abilities = abilities;
    this.#replicas = Array.from({ length: replicas }, () => 0);
  }

  /** Meant to run. */
  get replicas(): number {
    return this.#replicas.length;
  }

  /** Takes requests. */
  get ready(): number {
    return this.#replicas.filter((left) => left === 0).length;
  }

  /** New replicas begin to start; those that are let go stop taking requests at once, the newest first. */
  scaleTo(count: number): void {
    const more = Math.max(0, count - this.#replicas.length);
    const { startSeconds } = this.#abilities;
    this.#replicas = [...this.#replicas.slice(0, count), ...Array.from({ length: more }, () => startSeconds)];
  }

  /** One second in which so many requests come. */
  second(requests: number): ModelSecond {
    const { requestsPerSecond, serviceSeconds, patienceSeconds } = this.#abilities;
    const { ready } = this;
    const able = ready * requestsPerSecond;
    const served = Math.min(able, this.#waiting + requests);
    const left = this.#waiting + requests - served;
    const average = (this.#waiting + left) / 2;
    const lost = Math.max(0, left - able * patienceSeconds);
    this.#waiting = left - lost;
    this.#replicas = this.#replicas.map((seconds) => Math.max(0, seconds - 1));
    return {
      concurrency: served * serviceSeconds + average,
      cpu: able > 0 ? served / able : 0,
      ready,
      waiting: this.#waiting,
      lost,
    };
  }
}

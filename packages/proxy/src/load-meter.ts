import { countingBegin } from "./revision-counts.ts";

/** How busy a service is: what came, what runs, and for how long all of it has run. */
export class LoadMeter {
  readonly countedSince = countingBegin();
  requests = 0;
  /** Requests and tunnels that run now. */
  running = 0;
  #busyMs = 0;
  #movedAt = 0;

  /** A request has come. */
  begin(now: number): void {
    this.#move(now);
    this.requests++;
    this.running++;
  }

  /** A request, or the tunnel that it became, has ended. */
  end(now: number): void {
    this.#move(now);
    this.running--;
  }

  /** How long requests and tunnels have run, all together, in milliseconds; those that still run up to now. */
  busyMs(now: number): number {
    this.#move(now);
    return this.#busyMs;
  }

  #move(now: number): void {
    // Times of one turn of the event loop are read once, so one may come late.
    if (now <= this.#movedAt) return;
    this.#busyMs += this.running * (now - this.#movedAt);
    this.#movedAt = now;
  }
}

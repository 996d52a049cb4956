import type { registry } from "@hms/contracts";
import type { HmsError } from "@hms/kernel";
import { type Candidate, LatencyEstimate } from "@hms/proxy/balancing";
import { type UsableAddress, usableAddresses } from "./address-choice.ts";
import type { Channel, ChannelSchemes } from "./channel.ts";
import { isFault } from "./failure-kind.ts";
import { type BreakerState, InstanceBreaker } from "./instance-breaker.ts";

/** An instance that asks for less counts as slow for a while, so that others get the calls (Linkerd's load biaser). */
const OVERLOAD_PENALTY_MS = 5_000;

/** What an instance gets of which the registry says nothing. */
const ORDINARY_SHARE = 10_000;

/** One instance of a service: its connection, what runs on it, how fast it answers, whether it is left alone. */
export class InstanceEndpoint implements Candidate {
  readonly instanceId: string;
  /** How many calls it gets beside others of its kind. */
  weight = ORDINARY_SHARE;
  /** Gets only what nobody else can take. */
  isSpare = false;
  readonly latency = new LatencyEstimate();
  inFlight = 0;
  readonly #schemes: ChannelSchemes;
  readonly #breaker = new InstanceBreaker();
  #addresses: UsableAddress[] = [];
  #known = "";
  #at = 0;
  #channel: Channel | undefined;
  #retired = false;
  #json = false;

  constructor(instance: registry.ServiceInstance, schemes: ChannelSchemes) {
    this.instanceId = instance.instanceId;
    this.#schemes = schemes;
    this.update(instance);
  }

  get ejectedUntil(): number {
    return this.#breaker.ejectedUntil;
  }

  /** What its breaker does now. */
  get breaker(): BreakerState {
    return this.#breaker.state(performance.now());
  }

  /** Where it is called now; undefined if no address can be used from here. */
  get address(): string | undefined {
    return this.#addresses[this.#at]?.address;
  }

  /** Takes over what the registry says now; a connection to an address that is still there stays. */
  update(instance: registry.ServiceInstance): void {
    const known = [instance.address, ...instance.alternativeAddresses].join(" ");
    this.#retired = false;
    this.isSpare = instance.share === 0;
    this.weight = instance.share || ORDINARY_SHARE;
    if (known === this.#known && this.#addresses.length > 0) return;
    const before = this.address;
    this.#known = known;
    this.#addresses = usableAddresses(instance, this.#schemes);
    const same = this.#addresses.findIndex(({ address }) => address === before);
    this.#at = Math.max(0, same);
    if (same < 0) this.#closeChannel();
  }

  /** True if it is clear without connecting that nobody answers at any address now. */
  get isAbsent(): boolean {
    if (this.#channel) return false;
    return this.#addresses.every(({ address, scheme }) => scheme.absent?.(address) !== undefined);
  }

  /** Its connection; undefined if no address can be used from here. */
  channel(): Channel | undefined {
    const place = this.#addresses[this.#at];
    if (place)
      this.#channel ??=
        (this.#json ? place.scheme.openJson : undefined)?.(place.address) ?? place.scheme.open(place.address);
    return this.#channel;
  }

  /** True if it has been found to have no protobuf. */
  get speaksJson(): boolean {
    return this.#json;
  }

  /** Speaks JSON from now on, because the callee has no protobuf; false if it does already or cannot. */
  speakJson(): boolean {
    if (this.#json || this.#addresses[this.#at]?.scheme.openJson === undefined) return false;
    this.#json = true;
    // What still runs there ends by itself.
    this.#channel = undefined;
    return true;
  }

  /** A call begins. */
  begin(now: number): void {
    this.inFlight += 1;
    this.#breaker.begin(now);
  }

  /** A call has ended; `elapsedMs` is undefined for streams, whose life says nothing about speed. */
  end(error: HmsError | undefined, elapsedMs: number | undefined): void {
    this.inFlight -= 1;
    const now = performance.now();
    if (error?.code === "CANCELLED") this.#breaker.abandoned();
    else if (error !== undefined && isFault(error)) this.#fault(error, now);
    else {
      this.#breaker.succeeded(now);
      const overloaded = error?.code === "RESOURCE_EXHAUSTED";
      if (overloaded) this.latency.observe(OVERLOAD_PENALTY_MS, now);
      else if (elapsedMs !== undefined) this.latency.observe(elapsedMs, now);
    }
    if (this.#retired && this.inFlight === 0) this.#closeChannel();
  }

  #fault(error: HmsError, now: number): void {
    const unreachable = error.details.reason === "NOT_CONNECTED";
    this.#breaker.failed(now, unreachable);
    if (unreachable && this.#addresses.length > 1) {
      this.#closeChannel();
      this.#at = (this.#at + 1) % this.#addresses.length;
    }
  }

  /** The instance has gone: its connection is closed once nothing runs on it. */
  retire(): void {
    this.#retired = true;
    if (this.inFlight === 0) this.#closeChannel();
  }

  #closeChannel(): void {
    void this.#channel?.close();
    this.#channel = undefined;
  }

  /** Ends its connection and what runs on it. */
  async close(): Promise<void> {
    const channel = this.#channel;
    this.#channel = undefined;
    await channel?.close();
  }
}

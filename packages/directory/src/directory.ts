import type { registry } from "@hms/contracts";
import { ChangeSignal, type HmsError, type Principal, principalName } from "@hms/kernel";
import { ContractCache, type ServiceContract } from "./contract-cache.ts";
import { keyText, type ServiceKey } from "./service-key.ts";
import { type CacheTimes, type FoundService, ServiceSlot } from "./service-slot.ts";
import { entryName, type RegistryClient, ServiceWatch } from "./service-watch.ts";

const DEFAULT_CACHE_TTL_MS = 300_000;
const DEFAULT_REFRESH_INTERVAL_MS = 60_000;
const DEFAULT_NEGATIVE_TTL_MS = 1_000;
const MOST_SLOTS = 50_000;
const ALL = "*";

/** How a directory is set up. */
export interface DirectoryOptions {
  /** The registry, over any transport. */
  readonly registry: RegistryClient;
  /** The same registry over a transport whose waiting calls do not keep the process alive; default: `registry`. */
  readonly watcher?: RegistryClient;
  /** The registry as somebody else sees it, for calls on behalf of others; default: everybody sees the same. */
  readonly registryFor?: (principal: Principal) => RegistryClient;
  /**
   * How long what is known of a service is used while the registry is away, and kept while nobody uses it; default
   * 5 min. Tickets end by themselves after a minute at most.
   */
  readonly cacheTtlMs?: number;
  /** What is used is asked for again after this time, even if nothing seems to have changed; default 1 min. */
  readonly refreshIntervalMs?: number;
  /** How long "there is no such service" holds, unless it appears; default 1 s. */
  readonly negativeTtlMs?: number;
  /** Hears why a watch broke; default: nobody. */
  readonly onFailure?: (failure: HmsError) => void;
}

/** What can be called, as far as this process has had to know. */
export interface Directory extends AsyncDisposable {
  /**
   * Where a service answers and what the principal may call there; at once if it is known.
   * @throws HmsError NOT_FOUND, UNAVAILABLE if it has no instance or the registry is away, PERMISSION_DENIED
   */
  lookup(key: ServiceKey, principal?: Principal): FoundService | Promise<FoundService>;
  /** Asks the registry again, because a ticket was refused. @throws HmsError as `lookup` does. */
  renew(key: ServiceKey, principal?: Principal): Promise<FoundService>;
  /** The contract of an entry; undefined if it has none. @throws HmsError UNAVAILABLE if the registry is away. */
  contract(entry: registry.ServiceEntry): ServiceContract | undefined | Promise<ServiceContract>;
  /** Knows every service of an environment from now on, by one watch; settles when it does. */
  follow(environment: string): Promise<void>;
  /** A service of an environment that is followed, with lost instances too. */
  entry(key: ServiceKey): registry.ServiceEntry | undefined;
  /** Every service known in an environment that is followed. */
  entries(environment: string): Iterable<registry.ServiceEntry>;
  /** True while the registry tells this process of every change in the environment. */
  isCurrent(environment: string): boolean;
  /** Wakes up when a service has changed. */
  readonly changed: ChangeSignal;
}

/**
 * Opens a directory; nothing is asked before it is needed. It goes on with what it knows while the registry is away.
 */
export function openDirectory(options: DirectoryOptions): Directory {
  return new RegistryDirectory(options);
}

class RegistryDirectory implements Directory {
  readonly changed = new ChangeSignal();
  readonly #options: DirectoryOptions;
  readonly #times: CacheTimes;
  readonly #slots = new Map<string, ServiceSlot>();
  /** What was asked for last: most programs call one service again and again. */
  #last: { key: ServiceKey; slot: ServiceSlot } | undefined;
  /** Watches of whole environments. */
  readonly #followed = new Map<string, ServiceWatch>();
  readonly #ending = new Set<Promise<void>>();
  readonly #contracts: ContractCache;
  readonly #sweeper: NodeJS.Timeout;
  readonly #callers = new WeakMap<Principal, string>();
  #told = false;

  constructor(options: DirectoryOptions) {
    this.#options = options;
    this.#times = {
      cacheTtlMs: options.cacheTtlMs ?? DEFAULT_CACHE_TTL_MS,
      refreshIntervalMs: options.refreshIntervalMs ?? DEFAULT_REFRESH_INTERVAL_MS,
      negativeTtlMs: options.negativeTtlMs ?? DEFAULT_NEGATIVE_TTL_MS,
    };
    this.#contracts = new ContractCache(options.registry);
    this.#sweeper = setInterval(() => this.#sweep(), Math.max(this.#times.cacheTtlMs / 2, 1_000)).unref();
  }

  lookup(key: ServiceKey, principal?: Principal): FoundService | Promise<FoundService> {
    return this.#slot(key).find(this.#caller(principal), () => this.#client(principal));
  }

  renew(key: ServiceKey, principal?: Principal): Promise<FoundService> {
    return this.#slot(key).ask(this.#caller(principal), this.#client(principal));
  }

  /** All that tickets depend on: two keys of one account may be limited differently. */
  #caller(principal: Principal | undefined): string {
    if (principal === undefined || this.#options.registryFor === undefined) return "";
    let caller = this.#callers.get(principal);
    if (caller === undefined) {
      const { environment, mfa = false, roles = [], scopes } = principal;
      caller = JSON.stringify([principalName(principal), environment, mfa, roles, principal.groups, scopes]);
      this.#callers.set(principal, caller);
    }
    return caller;
  }

  #client(principal: Principal | undefined): RegistryClient {
    const { registry: own, registryFor } = this.#options;
    return principal && registryFor ? registryFor(principal) : own;
  }

  #slot(key: ServiceKey): ServiceSlot {
    if (key === this.#last?.key) return this.#last.slot;
    const text = keyText(key);
    let slot = this.#slots.get(text);
    if (slot === undefined) {
      if (this.#slots.size >= MOST_SLOTS) this.#dropOldest();
      slot = new ServiceSlot(key, () => this.#watchFor(key), this.#times);
      this.#slots.set(text, slot);
    }
    this.#last = { key, slot };
    return slot;
  }

  #watchFor({ environment, serviceId }: ServiceKey): ServiceWatch {
    return this.#followed.get(environment) ?? this.#watch({ environment, pattern: serviceId });
  }

  #watch(selection: { environment: string; pattern: string }): ServiceWatch {
    const { environment } = selection;
    const client = this.#options.watcher ?? this.#options.registry;
    return new ServiceWatch(client, selection, {
      changed: (name, entry) => {
        this.#slots.get(`${environment}/${name}`)?.changed(entry);
        this.#tell();
      },
      revoked: (revocation) => {
        for (const slot of this.#slots.values()) slot.revoked(revocation);
      },
      failed: (failure) => this.#options.onFailure?.(failure),
    });
  }

  /** Thousands of changes that come at once wake whoever waits once. */
  #tell(): void {
    if (this.#told) return;
    this.#told = true;
    setImmediate(() => {
      this.#told = false;
      this.changed.notify();
    });
  }

  contract(entry: registry.ServiceEntry): ServiceContract | undefined | Promise<ServiceContract> {
    return entry.hasContract ? this.#contracts.get(entry) : undefined;
  }

  follow(environment: string): Promise<void> {
    let watch = this.#followed.get(environment);
    if (watch === undefined) {
      watch = this.#watch({ environment, pattern: ALL });
      this.#followed.set(environment, watch);
    }
    return watch.synced;
  }

  entry(key: ServiceKey): registry.ServiceEntry | undefined {
    return this.#followed.get(key.environment)?.entries.get(entryName(key));
  }

  entries(environment: string): Iterable<registry.ServiceEntry> {
    return this.#followed.get(environment)?.entries.values() ?? [];
  }

  isCurrent(environment: string): boolean {
    return this.#followed.get(environment)?.current ?? false;
  }

  #sweep(): void {
    const now = performance.now();
    for (const slot of this.#slots.values()) {
      if (now >= slot.usedAt + this.#times.cacheTtlMs) this.#drop(slot);
      else slot.sweep(now);
    }
    const inUse = new Set<string>();
    for (const watch of this.#followed.values()) {
      for (const { contractDigest } of watch.entries.values()) inUse.add(contractDigest);
    }
    this.#contracts.keep(inUse);
  }

  #dropOldest(): void {
    const [oldest] = this.#slots.values();
    if (oldest) this.#drop(oldest);
  }

  #drop(slot: ServiceSlot): void {
    this.#last = undefined;
    this.#slots.delete(keyText(slot.key));
    const { watch } = slot;
    if (watch === undefined || watch === this.#followed.get(slot.key.environment)) return;
    const ending = watch.stop().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeper);
    const watches = [...this.#followed.values(), ...[...this.#slots.values()].map(({ watch }) => watch)];
    this.#slots.clear();
    this.#last = undefined;
    await Promise.all([...new Set(watches)].map((watch) => watch?.stop()));
    await Promise.all(this.#ending);
  }
}

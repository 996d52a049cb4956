import type { Kernel } from "@hms/kernel";

/** Environments come from requests, so only so many are remembered. */
const MOST_ENVIRONMENTS = 64;

/** Knows which services can be called in an environment, without going through all of them for each request. */
export class ServiceNames {
  readonly #kernel: Kernel;
  readonly #names = new Map<string, ReadonlySet<string>>();
  #following = false;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** True if a service can be called in an environment. */
  has(environment: string, service: string): boolean {
    let names = this.#names.get(environment);
    if (names === undefined) {
      this.#follow();
      names = new Set(Array.from(this.#kernel.services(environment), ({ typeName }) => typeName));
      this.#names.set(environment, names);
      if (this.#names.size > MOST_ENVIRONMENTS) this.#names.delete(this.#names.keys().next().value as string);
    }
    return names.has(service);
  }

  #follow(): void {
    if (this.#following) return;
    this.#following = true;
    const forget = () => {
      this.#following = false;
      this.#names.clear();
    };
    void this.#kernel.changed.next(new AbortController().signal).then(forget);
  }
}

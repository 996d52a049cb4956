import { type Kernel, principalName } from "@hms/kernel";
import type { RegistryServiceHandle } from "@hms/service-registry";

type Revoker = Pick<RegistryServiceHandle, "policyFileChanged" | "revokePrincipal">;

/**
 * Passes on what access files and accounts take away to the registry, which revokes tickets, and to whoever follows; keeps
 * for the registry what comes before there is one.
 */
export class TakenAway {
  #revoker: Revoker | undefined;
  readonly #followers: ((names: readonly string[]) => void)[] = [];
  #waiting: ((revoker: Revoker) => void)[] = [];

  /** Passes on what came so far, and from now on everything at once. */
  connect(revoker: Revoker): void {
    this.#revoker = revoker;
    for (const tell of this.#waiting) tell(revoker);
    this.#waiting = [];
  }

  /** The policy file has changed; somebody may call less of these services, given as patterns of ids. */
  services(patterns: readonly string[]): void {
    this.#tell((revoker) => revoker.policyFileChanged(patterns));
  }

  /** Calls `listener` with principals that are gone or stand for less, from now on. */
  follow(listener: (names: readonly string[]) => void): void {
    this.#followers.push(listener);
  }

  /** Ends the running streams of principals that are gone or stand for less at this kernel, from now on. */
  endStreamsAt(kernel: Kernel): void {
    this.follow((names) => {
      const less = new Set(names);
      kernel.endStreams((principal) => less.has(principalName(principal)));
    });
  }

  /** An account may do less than before, by its id. */
  account(id: string): void {
    this.principals([`user:${id}`, `service:${id}`]);
  }

  /** These principals are gone or stand for less ("user:anna"). */
  principals(names: readonly string[]): void {
    for (const follower of this.#followers) follower(names);
    for (const name of names) this.#tell((revoker) => revoker.revokePrincipal(name));
  }

  #tell(act: (revoker: Revoker) => void): void {
    if (this.#revoker) act(this.#revoker);
    else this.#waiting.push(act);
  }
}

import type { ResourceFacts } from "@hms/authorization";

/** Names the owner of a thing of one kind, "user:anna"; undefined if it has none. */
export type OwnerOf = (name: string, environment: string) => string | undefined;

/** Knows to whom things of the platform belong, from the services that keep them, once these are open. */
export class Owners {
  readonly #byKind = new Map<string, OwnerOf>();

  /** Asks a service about things of a kind: the noun of their permissions, "services". */
  connect(kind: string, ownerOf: OwnerOf): void {
    this.#byKind.set(kind, ownerOf);
  }

  /** What policies may look at beside a thing's name. */
  factsOf(kind: string, name: string, environment: string | undefined): ResourceFacts | undefined {
    if (name === "" || environment === undefined) return undefined;
    const owner = this.#byKind.get(kind)?.(name, environment);
    return owner === undefined ? undefined : { owner };
  }
}

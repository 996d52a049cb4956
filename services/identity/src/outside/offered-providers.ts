import type { Queries } from "../identity-tables.ts";
import { listProviders } from "./provider-store.ts";

/** An outside provider by which somebody comes in, or could. */
export interface OfferedProvider {
  readonly name: string;
  readonly title: string;
  /** Where its pages are. */
  readonly origin: string;
  readonly isLinked: boolean;
}

/** The providers that pages offer, and which of them are linked: those with these issuers. */
export async function offeredProviders(
  queries: Queries,
  linked: ReadonlySet<string> = new Set(),
): Promise<OfferedProvider[]> {
  const rows = await listProviders(queries);
  return rows.map(({ name, display_name: title, issuer }) => ({
    name,
    title,
    origin: new URL(issuer).origin,
    isLinked: linked.has(issuer),
  }));
}

import type { MessageInitShape } from "@bufbuild/protobuf";
import { patternTest } from "@hms/authorization";
import { registry } from "@hms/contracts";
import type { TicketRevocation } from "@hms/tickets";
import { revokedEvent } from "./access/revocation-event.ts";
import type { Selection } from "./listing-request.ts";
import type { Patiently } from "./lookup.ts";
import { keyText, type ServiceKey } from "./service-key.ts";
import type { Listed } from "./service-listing.ts";
import type { ListingQuery } from "./store.ts";
import type { WatchHub } from "./watch-hub.ts";

const PAGE = 500;
const { CURRENT, SYNCED, REMOVED } = registry.WatchEventKind;

type WatchEvent = MessageInitShape<typeof registry.WatchResponseSchema>;

/** What a watch stands on. */
export interface WatchParts {
  /** Reads a page of services as they are after the question. */
  readPage: (query: ListingQuery) => Promise<Listed[]>;
  hub: WatchHub;
  /** The revocations in force. */
  revocations: () => readonly TicketRevocation[];
  signal: AbortSignal;
  patiently: Patiently;
  /** Whether who watches may see a service. */
  isVisible: (key: Pick<ServiceKey, "serviceId" | "environment">) => boolean;
}

async function* allServices(selection: Selection, { readPage, patiently }: WatchParts): AsyncGenerator<Listed> {
  let after: ServiceKey | undefined;
  for (;;) {
    const query = { ...selection, metadata: {}, after, limit: PAGE };
    const page = await patiently(() => readPage(query));
    yield* page;
    if (page.length < PAGE) return;
    after = page.at(-1)?.key;
  }
}

/**
 * The matching services as they are, SYNCED, then each change. Who comes back after a broken watch starts anew and drops
 * what was not sent again before SYNCED; who reads slowly gets each service's newest state only. Revocations of tickets are
 * told to the watches of services they are about, those in force before SYNCED.
 */
export async function* watchServices(selection: Selection, parts: WatchParts): AsyncGenerator<WatchEvent> {
  const { environment, pattern } = selection;
  const fits = patternTest(pattern);
  // Before the first row is read: what changes meanwhile is told again rather than missed.
  const matches = (key: ServiceKey) => key.environment === environment && fits(key.serviceId) && parts.isVisible(key);
  const concerns = ({ serviceId }: TicketRevocation) => serviceId === "" || fits(serviceId);
  const { subscription, leave } = parts.hub.subscribe(matches, parts.signal);
  const shown = new Set<string>();
  try {
    for await (const { key, entry } of allServices(selection, parts)) {
      if (!parts.isVisible(key)) continue;
      shown.add(keyText(key));
      yield { kind: CURRENT, service: entry };
    }
    for (const revocation of parts.revocations().filter(concerns)) yield revokedEvent(revocation);
    yield { kind: SYNCED };
    for (;;) {
      const { key, entry, revoked } = await subscription.next(parts.signal);
      if (revoked) {
        if (concerns(revoked)) yield revokedEvent(revoked);
      } else if (entry) {
        shown.add(keyText(key));
        yield { kind: CURRENT, service: entry };
      } else if (shown.delete(keyText(key))) {
        yield { kind: REMOVED, service: key };
      }
    }
  } finally {
    leave();
  }
}

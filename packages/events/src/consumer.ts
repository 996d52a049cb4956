import type { HmsError } from "@hms/kernel/errors";
import type { DeliveryDesk } from "./delivery.ts";
import type { EventDatabase } from "./event-database.ts";
import type { GroupStore } from "./group-store.ts";
import type { HeadWatch } from "./head-watch.ts";
import type { SubscriptionSettings } from "./subscription-options.ts";

/** What every kind of consumer is made of. */
export interface ConsumerParts {
  database: EventDatabase;
  head: HeadWatch;
  settings: SubscriptionSettings;
  desk: DeliveryDesk;
  /** Hears what fails with no caller to tell. */
  failed: (failure: HmsError) => void;
}

/** What the consumer of a group is made of. */
export interface GroupParts extends ConsumerParts {
  store: GroupStore;
  group: string;
  /** This process in the group. */
  member: string;
}

/** Works until it is stopped. */
export interface Consumer {
  /** Something has changed that it cannot see by itself: paused, replayed, redriven. */
  refresh(): void;
  /** Takes nothing new, lets handlers end, and stores how far they came. `closed` has been told to abort in time. */
  stop(): Promise<void>;
}

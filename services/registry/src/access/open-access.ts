import type { PolicyBook } from "@hms/authorization";
import { type AuditSink, HmsError } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import type { RegistryDatabase } from "../store.ts";
import type { WatchHub } from "../watch-hub.ts";
import { AccessStore } from "./access-store.ts";
import { CallReports } from "./call-reports.ts";
import { Ownership, type RegistersOf } from "./ownership.ts";
import { PolicyKeeper } from "./policy-keeper.ts";
import { Revocations } from "./revocations.ts";
import { TicketIssuer } from "./ticket-issuer.ts";

/** What decides who may register and call what. */
export interface Access {
  store: AccessStore;
  ownership: Ownership;
  tickets: TicketIssuer;
  reports: CallReports;
  revocations: Revocations;
  keeper: PolicyKeeper;
  /** Settles when policies and revocations have been read. */
  ready: Promise<void>;
  /** Settles when everything that was revoked has been stored. */
  settled: () => Promise<void>;
}

/** What access stands on. */
export interface AccessParts {
  database: RegistryDatabase;
  book: PolicyBook;
  audit: AuditSink;
  registersOf: RegistersOf;
  hub: WatchHub;
  signal: AbortSignal;
  failed: (failure: HmsError) => void;
}

/** Puts the parts of access together and begins to read what is stored. */
export function openAccess({ database, book, audit, registersOf, hub, signal, failed }: AccessParts): Access {
  const store = new AccessStore(database);
  const tell = hub.revoke.bind(hub);
  const revocations = new Revocations({ store, tell, signal, failed });
  const keeper = new PolicyKeeper({ book, store, revocations, signal });
  // Revocations first: what is issued once policies are in force has to be dated after them.
  const read = async () => {
    await revocations.load();
    await keeper.load();
    await keeper.followFile();
  };
  const retry = { signal, deadlineMs: Number.POSITIVE_INFINITY };
  const ready = retryWhileUnavailable(read, retry).catch((error) => {
    if (!signal.aborted) failed(HmsError.from(error));
  });
  const following = ready.then(() => keeper.followStore()).catch(() => {});
  return {
    store,
    ownership: new Ownership(store, registersOf),
    tickets: new TicketIssuer(book, store, revocations),
    reports: new CallReports(audit),
    revocations,
    keeper,
    ready,
    settled: async () => {
      await ready;
      await following;
      await revocations.settled();
    },
  };
}

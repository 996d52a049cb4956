import type { PartName } from "@hms/config";
import { type Credentials, HmsError, type IdentitySource } from "@hms/kernel";
import { createTicketIdentity } from "@hms/tickets";
import { partAudience } from "./part-tickets.ts";

/** Whom a process with parts of the platform believes. */
export interface PartIdentityOptions {
  /** The key that the installation's processes share: 32 bytes. */
  key: Uint8Array;
  /** The parts that run here. */
  parts: readonly PartName[];
  /** The installation's name, as certificates say it. */
  installation: string;
  /** Milliseconds since 1970; default the machine's clock. */
  now?: () => number;
}

/** The SPIFFE id of a process of the platform, by a part that runs there; "server" is the one with all others. */
export function partSpiffeId(installation: string, part: PartName | "server"): string {
  return `spiffe://${installation}/part/${part}`;
}

/**
 * Knows on whose behalf other processes of the platform call, by the tickets they show; over the network only those
 * that are parts of this installation by their certificate. Tokens are worth nothing here.
 */
export function createPartIdentity({ key, parts, installation, now }: PartIdentityOptions): IdentitySource {
  const keys = new Map(parts.map((part) => [partAudience(part), key]));
  const tickets = createTicketIdentity({ keys, ...(now ? { now } : {}) });
  const ours = `spiffe://${installation}/part/`;
  return {
    authenticate(credentials: Credentials) {
      const { transport, peer } = credentials;
      if (transport === "network" && !peer?.startsWith(ours)) throw stranger(peer, ours);
      return tickets.authenticate(credentials);
    },
  };
}

function stranger(peer: string | undefined, ours: string): HmsError {
  return new HmsError(
    "UNAUTHENTICATED",
    `Only parts of this installation call each other here: ${peer ?? "no certificate"} was shown, ${ours}PART was expected.`,
    { reason: "NOT_A_PART" },
  );
}

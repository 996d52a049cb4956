import { automationRuns } from "@hms/contracts";
import { type Client, createClient } from "@hms/kernel";
import type { Session } from "../session.ts";

/** A client of the automation service's runs at the platform's socket. */
export function runClient({ platform }: Session): Client<typeof automationRuns.RunService> {
  return createClient(automationRuns.RunService, platform);
}

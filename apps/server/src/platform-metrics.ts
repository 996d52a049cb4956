import { calls } from "@hms/contracts";
import { createClient, type Principal } from "@hms/kernel";
import { type CallMetrics, mergeMetrics, type PartMetrics } from "@hms/telemetry";
import type { ConnectedPart } from "./connect-parts.ts";

/** A part that is away is not waited for as long as its calls are. */
const PATIENCE_MS = 2_000;

/** One page of metrics of the whole platform, for whoever asks. */
export type PlatformMetrics = (principal: Principal) => Promise<string>;

/** What this process has counted, and what the parts in other processes have, each asked as whoever asks here. */
export function platformMetrics(own: Pick<CallMetrics, "expose">, parts: readonly ConnectedPart[]): PlatformMetrics {
  return async (principal) => {
    const found = await Promise.all(parts.map((part) => ask(part, principal)));
    // A process with several parts is asked by each of their names.
    const processes = new Map(found.map((each) => [each.part, each]));
    return mergeMetrics(own.expose(), [...processes.values()]);
  };
}

async function ask({ part, transport, tickets }: ConnectedPart, principal: Principal): Promise<PartMetrics> {
  try {
    const metadata = { authorization: `Ticket ${tickets.of(principal)}` };
    const pieces = createClient(calls.CallService, transport).getMetrics({}, { metadata, timeoutMs: PATIENCE_MS });
    let [name, page] = [part as string, ""];
    for await (const { process, text } of pieces) {
      name = process;
      page += text;
    }
    return { part: name, text: page };
  } catch {
    // Said in the page: hms_ffi_part_up is 0.
    return { part, text: undefined };
  }
}

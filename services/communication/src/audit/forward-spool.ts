import type { SpoolPosition } from "@hms/audit-spool";
import type { audit } from "@hms/contracts";
import type { Client, HmsError } from "@hms/kernel";
import { SpoolDrain } from "./spool-drain.ts";

/** Whose spool is handed in where. */
export interface ForwardSpoolOptions {
  /** The folder in which every process of this machine has its spool, and the name of this one's. */
  readonly spools: string;
  readonly process: string;
  /** The audit log, in whichever process it is kept. */
  readonly log: Pick<Client<typeof audit.AuditService>, "appendSpooled">;
  /** How often it is looked whether somebody else has taken what waits; default 5 s. */
  readonly pollMs?: number;
  readonly onFailure?: (error: HmsError) => void;
}

const CALL_TIMEOUT_MS = 10_000;
/** Events of a call: with requests of 64 KiB each they still fit one message. */
const MOST_EVENTS = 200;

/**
 * Hands a process's own spool in to an audit log on another machine. Where the log is kept on this one it empties the spool
 * by itself, and nothing is left to hand in.
 */
export function forwardSpool(options: ForwardSpoolOptions): AsyncDisposable {
  const { spools, process, log, pollMs = 5000, onFailure: failed = () => {} } = options;
  const call = async (request: Parameters<typeof log.appendSpooled>[0]) => {
    const { position } = await log.appendSpooled(request, { timeoutMs: CALL_TIMEOUT_MS });
    return position && { ...position, segment: Number(position.segment), offset: Number(position.offset) };
  };
  const drain = new SpoolDrain({
    spools,
    only: process,
    isShared: true,
    pollMs,
    most: MOST_EVENTS,
    failed,
    append: ({ shard, events, from }) =>
      from === undefined
        ? Promise.resolve(undefined)
        : call({
            shard,
            events: events as Uint8Array<ArrayBuffer>[],
            position: place(from.position),
            next: place(from.next),
          }),
    // Nothing, from before the beginning: the answer says how far the log is.
    positionOf: ({ shard, spoolId }) => {
      const beginning = place({ spoolId, segment: 0, offset: 0 });
      return call({ shard, events: [], position: beginning, next: beginning });
    },
  });
  return { [Symbol.asyncDispose]: () => drain.stop() };
}

function place({ spoolId, segment, offset }: SpoolPosition) {
  return { spoolId, segment: BigInt(segment), offset: BigInt(offset) };
}

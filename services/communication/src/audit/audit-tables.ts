import type { SpoolPosition } from "@hms/audit-spool";

/** The tables of the service's own schema; bigint columns arrive as text. */
export interface CommunicationTables {
  shard_head: {
    shard: string;
    seq: string;
    mac: Buffer;
    epoch: number;
    recorded_at: string;
    removed_seq: string;
    removed_mac: Buffer;
  };
  spool_position: { spool_id: string; shard: string; segment: string; byte_offset: string };
  checkpoint_head: {
    one: boolean;
    number: string;
    line_sha256: string;
    time: Date;
    sent: string;
  };
}

/** Up to where a chain goes. */
export interface ShardHead {
  readonly shard: string;
  readonly seq: number;
  readonly mac: Buffer;
  readonly epoch: number;
  /** Microseconds since 1970. */
  readonly recordedAt: number;
  readonly removed: { readonly seq: number; readonly mac: Buffer };
}

/** A row as the rest of the service sees it. */
export function shardHead(row: CommunicationTables["shard_head"]): ShardHead {
  return {
    shard: row.shard,
    seq: Number(row.seq),
    mac: row.mac,
    epoch: row.epoch,
    recordedAt: Number(row.recorded_at),
    removed: { seq: Number(row.removed_seq), mac: row.removed_mac },
  };
}

/** The same for where a spool is. */
export function spoolPosition(row: CommunicationTables["spool_position"]): SpoolPosition {
  return { spoolId: row.spool_id, segment: Number(row.segment), offset: Number(row.byte_offset) };
}

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { LogRow } from "@hms/audit-log";
import type { audit } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";

/** A row as the platform answers it. */
export function logRow({ columnsJson, seq, ...row }: audit.StoredEvent): LogRow {
  return { ...row, seq: Number(seq), columns: JSON.parse(columnsJson) };
}

/** A line of an export; each has a `kind` of its own. */
export type ExportLine =
  | { kind: "head"; format: typeof EXPORT_FORMAT; instance: string; exportedAt: string; checkpointKey: string }
  /** `late`: signed after the events were read. */
  | { kind: "checkpoint"; jws: string; late?: true }
  | {
      kind: "event";
      shard: string;
      seq: number;
      epoch: number;
      /** hms.communication.v1.AuditEvent, base64, and what it says. */
      event: string;
      says: unknown;
      mac: string;
      columns: LogRow["columns"];
    }
  | { kind: "end"; events: number };

/** The format of exports. */
export const EXPORT_FORMAT = "hms-audit-export/1";

/**
 * Reads an export line by line.
 * @throws HmsError DATA_LOSS if it ends too early, INVALID_ARGUMENT if it is none
 */
export async function* exportLines(path: string): AsyncGenerator<ExportLine> {
  let number = 0;
  let last: ExportLine | undefined;
  for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1;
    last = read(text, { path, number });
    if (number === 1 && (last.kind !== "head" || last.format !== EXPORT_FORMAT)) throw noExport({ path, number });
    yield last;
  }
  if (last?.kind === "end") return;
  throw new HmsError("DATA_LOSS", `${path} ends in its middle, after line ${number}. Export it again.`);
}

interface Place {
  readonly path: string;
  readonly number: number;
}

function read(text: string, place: Place): ExportLine {
  try {
    const line = JSON.parse(text) as ExportLine;
    if (["head", "checkpoint", "event", "end"].includes(line.kind)) return line;
  } catch {
    // Said below.
  }
  throw noExport(place);
}

function noExport({ path, number }: Place): HmsError {
  const message = `Line ${number} of ${path} is none of an audit export. Make one with: hms-sys audit export --to FILE`;
  return new HmsError("INVALID_ARGUMENT", message);
}

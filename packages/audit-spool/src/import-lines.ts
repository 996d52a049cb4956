import { closeSync, existsSync, fsyncSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { auditEventBytes } from "@hms/audit-log";
import type { AuditEvent } from "@hms/kernel";
import type { SegmentWriter } from "./segment-writer.ts";

/** What a line of a spool held before spools had segments. */
type Line = Omit<AuditEvent, "time" | "principal"> & {
  time: string;
  principal: string;
  principal_kind: AuditEvent["principal"]["kind"];
};

/** Takes over a spool that an earlier release has left as lines of JSON. A crash meanwhile may leave some of them twice. */
export function importLines(directory: string, writer: SegmentWriter): void {
  const path = join(directory, "spool.jsonl");
  if (!existsSync(path)) return;
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const event = read(line);
    if (event !== undefined) writer.write(auditEventBytes(event));
  }
  writer.syncNow();
  rmSync(path);
  const folder = openSync(directory, "r");
  fsyncSync(folder);
  closeSync(folder);
}

function read(line: string): AuditEvent | undefined {
  try {
    const { time, principal, principal_kind: kind, ...rest } = JSON.parse(line) as Line;
    return { ...rest, time: new Date(time), principal: { kind, id: principal } };
  } catch {
    // The end that a crash cut short.
    return undefined;
  }
}

import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import { checkpointLines } from "@hms/audit-log";
import { audit } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { EXPORT_FORMAT, type ExportLine } from "../../audit/log-rows.ts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";

const { AuditService, AuditEventSchema } = audit;

/** Writes the whole log with its checkpoints, line by line, to be verified wherever it is kept. */
export async function run({ options, session, output, signal }: Invocation): Promise<number> {
  const { paths, platform } = session();
  const client = createClient(AuditService, platform);
  const { checkpointKey } = await client.getAuditStatus({}, { signal });
  const file = typeof options.to === "string" ? openSync(options.to, "wx", 0o600) : 1;
  const write = (line: ExportLine) => void writeSync(file, `${JSON.stringify(line)}\n`);
  const exportedAt = new Date().toISOString();
  write({ kind: "head", format: EXPORT_FORMAT, instance: paths.instance, exportedAt, checkpointKey });
  const folder = `${paths.audit}/checkpoints`;
  const early = new Set(checkpointLines(folder));
  for (const jws of early) write({ kind: "checkpoint", jws });
  let events = 0;
  for await (const answer of client.exportEvents({}, { signal })) {
    for (const stored of answer.events) write(eventLine(stored));
    events += answer.events.length;
  }
  for (const jws of checkpointLines(folder)) if (!early.has(jws)) write({ kind: "checkpoint", jws, late: true });
  write({ kind: "end", events });
  if (file !== 1) {
    fsyncSync(file);
    closeSync(file);
    if (output.json) output.document({ events, checkpoints: early.size, file: options.to });
  }
  output.note(
    `${events} events and ${early.size} checkpoints exported; verify them with: hms-sys audit verify --from FILE`,
  );
  return ExitCode.OK;
}

function eventLine({ shard, seq, epoch, event, mac, columnsJson }: audit.StoredEvent): ExportLine {
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  let says: unknown = null;
  try {
    says = toJson(AuditEventSchema, fromBinary(AuditEventSchema, event));
  } catch {
    // Not to be read any more: its bytes are exported all the same, and verification says so.
  }
  const columns = JSON.parse(columnsJson);
  return { kind: "event", shard, seq: Number(seq), epoch, event: text(event), says, mac: text(mac), columns };
}

import { existsSync, readFileSync } from "node:fs";
import {
  CheckpointBook,
  checkpointLines,
  type LogFinding,
  type LogReport,
  LogVerifier,
  PUBLIC_KEY_FILE,
  readVerificationRoot,
  verificationRootPath,
} from "@hms/audit-log";
import { type InstancePaths, resolveInstance } from "@hms/config";
import { audit } from "@hms/contracts";
import { createClient, HmsError } from "@hms/kernel";
import { openSealingKey } from "@hms/secrets";
import { exportLines, logRow } from "../../audit/log-rows.ts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";

const MOST_SHOWN = 20;

/**
 * Verifies the log, or an export of it, against the first key and the checkpoints; what the platform says of itself is not
 * believed. Exit code 7 if something was changed, 8 if something is missing.
 */
export async function run(invocation: Invocation): Promise<number> {
  const { options, globals, output } = invocation;
  const paths = resolveInstance(globals);
  const text = (name: string) => (typeof options[name] === "string" ? (options[name] as string) : undefined);
  const root = rootOf(text("root") ?? verificationRootPath(paths.auditKeys), text("sealingKey") ?? paths.sealingKey);
  const publicKey = readFile(text("checkpointKey") ?? `${paths.auditKeys}/${PUBLIC_KEY_FILE}`);
  const checkpoints = new CheckpointBook(publicKey);
  const anchor = text("anchor");
  if (anchor !== undefined) for (const line of checkpointLines(anchor)) checkpoints.add(line);
  const verifier = new LogVerifier({ root, checkpoints, isAnchor: anchor !== undefined });
  const from = text("from");
  const ground = { verifier, checkpoints, isAnchored: anchor !== undefined };
  if (from === undefined) await verifyRunning(invocation, paths, ground);
  else await verifyExport(from, ground);
  const report = verifier.finish();
  if (output.json) output.document(report);
  else for (const line of linesOf(report)) output.result(line);
  if (report.integrity.length > 0) return ExitCode.AUDIT_CHANGED;
  return report.completeness.length > 0 ? ExitCode.AUDIT_INCOMPLETE : ExitCode.OK;
}

interface Ground {
  readonly verifier: LogVerifier;
  readonly checkpoints: CheckpointBook;
  /** The checkpoints are others than those beside the log. */
  readonly isAnchored: boolean;
}

async function verifyRunning(
  { session, signal }: Invocation,
  paths: InstancePaths,
  { verifier, checkpoints, isAnchored }: Ground,
): Promise<void> {
  const folder = `${paths.audit}/checkpoints`;
  // Those signed while events are read prove nothing of what was read already.
  const early = new Set(isAnchored || !existsSync(folder) ? [] : checkpointLines(folder));
  for (const line of early) checkpoints.add(line);
  const client = createClient(audit.AuditService, session().platform);
  for await (const { events } of client.exportEvents({}, { signal })) {
    for (const stored of events) verifier.add(logRow(stored));
  }
  if (isAnchored || !existsSync(folder)) return;
  for (const line of checkpointLines(folder)) if (!early.has(line)) checkpoints.add(line, true);
}

async function verifyExport(path: string, { verifier, checkpoints, isAnchored }: Ground): Promise<void> {
  const bytes = (base64: string) => Buffer.from(base64, "base64");
  for await (const line of exportLines(path)) {
    if (line.kind === "checkpoint" && !isAnchored) checkpoints.add(line.jws, line.late);
    if (line.kind !== "event") continue;
    const { shard, seq, epoch, event, mac, columns } = line;
    verifier.add({ shard, seq, epoch, event: bytes(event), mac: bytes(mac), columns });
  }
}

function rootOf(path: string, sealingKey: string): Buffer {
  // Opening it would make one.
  if (existsSync(sealingKey)) return readVerificationRoot(path, openSealingKey(sealingKey));
  const message = `${sealingKey} is not there, the key that ${path} is sealed with. Name the place where you keep it with --sealing-key.`;
  throw new HmsError("FAILED_PRECONDITION", message, { reason: "SEALING_KEY_MISSING" });
}

function readFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new HmsError("FAILED_PRECONDITION", `${path} cannot be read: ${(cause as Error).message}.`, { cause });
  }
}

function linesOf({ events, shards, integrity, completeness, provenUntil, checkpoints }: LogReport): string[] {
  const chains = Object.entries(shards).map(([shard, { first, last }]) => `${shard} ${first}–${last}`);
  const until =
    provenUntil === undefined
      ? "without checkpoints nobody can say whether the end is missing"
      : `whole up to ${provenUntil}, as ${checkpoints} checkpoints prove`;
  return [
    `${events} events in ${chains.length} chains: ${chains.join(", ")}`,
    `integrity: ${integrity.length === 0 ? "nothing was changed" : `${integrity.length} findings`}`,
    ...findingLines(integrity),
    `completeness: ${completeness.length === 0 ? until : `${completeness.length} findings`}`,
    ...findingLines(completeness),
  ];
}

function findingLines(findings: readonly LogFinding[]): string[] {
  const shown = findings.slice(0, MOST_SHOWN).map(({ shard, seq, what }) => {
    const where = shard === "" ? "checkpoints" : `${shard}${seq === 0 ? "" : ` ${seq}`}`;
    return `  ${where}: ${what}`;
  });
  const more = findings.length - shown.length;
  return more > 0 ? [...shown, `  and ${more} more; all of them: -o json`] : shown;
}

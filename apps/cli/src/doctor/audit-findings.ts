import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { SpoolSize } from "@hms/audit-spool";
import type { audit } from "@hms/contracts";
import { humanBytes } from "../output/human.ts";
import type { Finding } from "./finding.ts";

const CHECK = "audit log";
/** Checkpoints are signed each minute. */
const LATE_MS = 180_000;
const MANY_BYTES = 16 * 1024 * 1024;
/** A sink that is a few behind is about to take them. */
const MANY_CHECKPOINTS = 5;

/**
 * What the spools on this machine's disk hold, whether or not anything runs that could tell: while the audit log is away,
 * nobody else would say that changes are refused, or are about to be.
 */
export function spoolSizeFindings(sizes: ReadonlyMap<string, SpoolSize>): Finding[] {
  const findings: Finding[] = [];
  for (const [name, { bytes, limit }] of sizes) {
    if (bytes < limit / 2) continue;
    const isFull = bytes >= limit;
    const held = `the spool of ${name} holds ${humanBytes(bytes)} of ${humanBytes(limit)}`;
    const finding = isFull ? `${held}: it is full, what would change something is refused there` : held;
    const remedy =
      "it is emptied by the audit log: see below, or logs/communication.log or logs/server.log, why it is not";
    findings.push({ check: "audit spools", level: isFull ? "problem" : "warning", finding, remedy });
  }
  return findings;
}

/** Whether audit events come into the log, and checkpoints to where they are kept. */
export function auditFindings(status: audit.GetAuditStatusResponse, now = Date.now()): Finding[] {
  const problems = [...spoolFindings(status), ...checkpointFindings(status, now)];
  if (problems.length > 0) return problems;
  const events = status.shards.reduce((sum, { seq }) => sum + seq, 0n);
  return [{ check: CHECK, level: "ok", finding: `${events} events, checkpoint #${status.checkpointNumber}` }];
}

function spoolFindings({ shards, failure }: audit.GetAuditStatusResponse): Finding[] {
  const look = "see logs/server.log in the data directory; events wait in their spools until then";
  const findings: Finding[] = [];
  if (failure !== "") findings.push({ check: CHECK, level: "problem", finding: failure, remedy: look });
  for (const { shard, waitingBytes, full } of shards) {
    const bytes = humanBytes(waitingBytes);
    if (full) {
      const finding = `the spool of ${shard} is full (${bytes}): what would change something is refused there, reads go on`;
      findings.push({ check: CHECK, level: "problem", finding, remedy: look });
    } else if (waitingBytes > MANY_BYTES) {
      const finding = `${bytes} of ${shard} wait to come into the log`;
      findings.push({
        check: CHECK,
        level: "warning",
        finding,
        remedy: "look again in a minute; if it stays so, see logs/server.log",
      });
    }
  }
  return findings;
}

function checkpointFindings(status: audit.GetAuditStatusResponse, now: number): Finding[] {
  const { checkpointTime, checkpointNumber, sink, sinkBehind } = status;
  const findings: Finding[] = [];
  if (checkpointTime && now - timestampMs(checkpointTime) > LATE_MS) {
    const finding = `the last checkpoint, #${checkpointNumber}, is older than three minutes`;
    findings.push({ check: CHECK, level: "warning", finding, remedy: "see logs/server.log for why none is signed" });
  }
  if (sinkBehind > MANY_CHECKPOINTS) {
    const finding = `${sinkBehind} checkpoints wait for ${sink}`;
    findings.push({
      check: CHECK,
      level: "warning",
      finding,
      remedy: "see that it answers; they are sent again and again",
    });
  }
  return findings;
}

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { agent, deployment } from "@hms/contracts";
import type { Painter } from "./painter.ts";

function exitWords(exit: agent.ExitStatus): string {
  if (exit.launchError) return exit.launchError;
  if (exit.outOfMemory) return "ended by its memory limit";
  return exit.signal ? `ended by ${exit.signal}` : `exit code ${exit.code}`;
}

/** Why a rollout did not succeed, with all that helps to mend it. */
export function renderFailure(failure: deployment.RolloutFailure, paint: Painter): string[] {
  const lines = [`${paint.bad("✗")} ${failure.reason}`];
  if (failure.lastProbe) lines.push(`  last probe: ${failure.lastProbe}`);
  if (failure.exit) lines.push(`  process: ${exitWords(failure.exit)}`);
  if (failure.lastLogLines.length > 0) {
    lines.push(
      `  last ${failure.lastLogLines.length} log lines${failure.replicaId ? ` of ${failure.replicaId}` : ""}:`,
    );
    for (const { time, text } of failure.lastLogLines) {
      lines.push(paint.dim(`    ${time ? timestampDate(time).toISOString().slice(11, 23) : ""} ${text}`));
    }
  }
  if (failure.changes.length > 0) {
    lines.push("  changed since the last revision that served well:");
    for (const change of failure.changes) lines.push(renderChange(change, paint));
  }
  if (failure.remedy) lines.push(`  → ${failure.remedy}`);
  return lines;
}

/** One difference: key, before, after. */
export function renderChange({ key, before, after }: deployment.Change, paint: Painter): string {
  if (before === "") return `    ${paint.good("+")} ${key}: ${after}`;
  if (after === "") return `    ${paint.bad("-")} ${key}: ${before}`;
  return `    ${paint.warn("~")} ${key}: ${before} → ${after}`;
}

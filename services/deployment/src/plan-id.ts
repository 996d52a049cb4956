import { createHash } from "node:crypto";
import { HmsError } from "@hms/kernel";
import type { Manifest } from "@hms/manifest";
import type { SecretVersions } from "./secrets/secret-tables.ts";

/** What a plan is made from. */
export interface PlannedWorld {
  /** The revision that serves; 0: none. */
  currentRevision: number;
  manifest: Manifest;
  /** The versions of its secrets that a deploy would take. */
  secrets: SecretVersions;
  /** Of the release that a deploy would make; empty if it is not known. */
  programDigest: string;
}

const short = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 12);

/** Names what a plan is made from: the same id, the same plan. */
export function planId({ currentRevision, manifest, secrets, programDigest }: PlannedWorld): string {
  const versions = Object.entries(secrets).sort();
  const told = versions.length === 0 ? "" : JSON.stringify(versions);
  return [currentRevision, short(JSON.stringify(manifest) + told), short(programDigest)].join(".");
}

/**
 * Holds a plan against the world as it is now.
 * @throws HmsError INVALID_ARGUMENT if it is no plan's id, FAILED_PRECONDITION with everything that is another by now
 */
export function checkPlanId(asked: string, world: PlannedWorld): void {
  if (!/^\d{1,15}\.[0-9a-f]{12}\.[0-9a-f]{12}$/.test(asked)) {
    const description = `"${asked.slice(0, 80)}" is no plan. Take plan_id from hms-sys plan FILE.`;
    throw new HmsError("INVALID_ARGUMENT", `plan_id: ${description}`, {
      fieldViolations: [{ field: "plan_id", description }],
    });
  }
  const [revision, manifest, program] = asked.split(".");
  const [nowRevision, nowManifest, nowProgram] = planId(world).split(".");
  const changed = [
    ...(revision === nowRevision ? [] : [`revision ${nowRevision} serves now, and the plan was made for ${revision}`]),
    ...(manifest === nowManifest ? [] : ["the manifest, or a variable or secret in it, is another"]),
    ...(program === nowProgram ? [] : ["the program's files are others"]),
  ];
  if (changed.length === 0) return;
  throw new HmsError(
    "FAILED_PRECONDITION",
    `The world is not what plan ${asked} was made for: ${changed.join("; ")}. Plan again, look, and deploy that.`,
    { reason: "PLAN_OUTDATED" },
  );
}

import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { deployMany } from "../deploy/deploy-many.ts";
import { deployOne } from "../deploy/deploy-one.ts";
import { findManifests } from "../deploy/find-manifests.ts";
import { readManifest } from "../read-manifest.ts";

/** Rolls manifests out and shows what happens. */
export async function run(invocation: Invocation): Promise<number> {
  const manifests = findManifests(invocation.args).map((file) => ({ ...readManifest(file), file }));
  const [first, second] = manifests;
  if (first && second === undefined) return deployOne(invocation, first);
  if (invocation.options.plan !== undefined) {
    throw new HmsError("INVALID_ARGUMENT", `--plan is about one manifest; here are ${manifests.length}. Leave it out.`);
  }
  return deployMany(invocation, manifests);
}

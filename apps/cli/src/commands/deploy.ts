import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { deployMany } from "../deploy/deploy-many.ts";
import { deployOne } from "../deploy/deploy-one.ts";
import { findManifests } from "../deploy/find-manifests.ts";
import { inPreview } from "../deploy/open-preview.ts";
import { readManifest } from "../read-manifest.ts";

/** Rolls manifests out and shows what happens. */
export async function run(given: Invocation): Promise<number> {
  const manifests = findManifests(given.args).map((file) => ({ ...readManifest(file), file }));
  const [first, second] = manifests;
  if (first && second === undefined) return deployOne(await inPreview(given), first);
  if (given.options.plan !== undefined) {
    throw new HmsError("INVALID_ARGUMENT", `--plan is about one manifest; here are ${manifests.length}. Leave it out.`);
  }
  return deployMany(await inPreview(given), manifests);
}

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { deployment } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { Manifest } from "@hms/manifest";
import type { DeploymentRuntime } from "./ports.ts";
import type { ServiceKey, ServiceRecord } from "./service-record.ts";

/** The program that a deploy would bring. */
export interface GivenProgram {
  manifest: Manifest;
  key: ServiceKey;
  sourceDirectory: string;
  signal: AbortSignal;
}

/** A program beside the one of the current revision. */
export interface ComparedProgram {
  /** How they differ; undefined if there is no revision with a release. */
  changes: MessageInitShape<typeof deployment.ProgramChangesSchema> | undefined;
  /** Of the release that a deploy would make; empty if it is not known. */
  digest: string;
}

/**
 * How a program differs from the one of the current revision.
 * @throws HmsError INVALID_ARGUMENT or FAILED_PRECONDITION if its directory could not be deployed.
 */
export async function programChanges(
  runtime: Pick<DeploymentRuntime, "compareRelease">,
  record: ServiceRecord | undefined,
  { manifest, key, sourceDirectory, signal }: GivenProgram,
): Promise<ComparedProgram> {
  const current = record?.revisions.get(record.currentRevision);
  const digest = current?.releaseDigest ?? "";
  const program = { ...key, sourceDirectory, buildCommand: manifest.run.build ?? "" };
  try {
    const built = current?.manifest.run.build !== undefined;
    const found = await runtime.compareRelease({ ...program, digest, built }, signal);
    if (digest === "") return { changes: undefined, digest: found.digest };
    const { files, fileCount } = found;
    const changes = { notCompared: "", digestBefore: digest, digestAfter: found.digest, files, fileCount };
    return { changes, digest: found.digest };
  } catch (error) {
    const { code, message } = HmsError.from(error);
    if (code !== "UNAVAILABLE" && code !== "UNIMPLEMENTED") throw error;
    const notCompared = { notCompared: message, digestBefore: digest, digestAfter: "" };
    return { changes: digest === "" ? undefined : notCompared, digest: "" };
  }
}

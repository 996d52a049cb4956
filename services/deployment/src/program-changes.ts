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

/**
 * How a program differs from the one of the current revision; undefined if there is no revision with a release.
 * @throws HmsError INVALID_ARGUMENT or FAILED_PRECONDITION if its directory could not be deployed.
 */
export async function programChanges(
  runtime: Pick<DeploymentRuntime, "compareRelease">,
  record: ServiceRecord | undefined,
  { manifest, key, sourceDirectory, signal }: GivenProgram,
): Promise<MessageInitShape<typeof deployment.ProgramChangesSchema> | undefined> {
  const current = record?.revisions.get(record.currentRevision);
  const digest = current?.releaseDigest ?? "";
  const program = { ...key, sourceDirectory, buildCommand: manifest.run.build ?? "" };
  try {
    const built = current?.manifest.run.build !== undefined;
    const found = await runtime.compareRelease({ ...program, digest, built }, signal);
    if (digest === "") return undefined;
    return {
      notCompared: "",
      digestBefore: digest,
      digestAfter: found.digest,
      files: found.files,
      fileCount: found.fileCount,
    };
  } catch (error) {
    const { code, message } = HmsError.from(error);
    if (code !== "UNAVAILABLE" && code !== "UNIMPLEMENTED") throw error;
    return digest === "" ? undefined : { notCompared: message, digestBefore: digest, digestAfter: "" };
  }
}

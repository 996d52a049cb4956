import { identityPlatformKeys } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";

const { WorkloadKeyService, DatabaseKeyService } = identityPlatformKeys;
const workloadKeys = ({ session }: Invocation) => identityClient(session(), WorkloadKeyService);

/** Makes a new key of deployed services' tokens. */
export async function replaceWorkloadKey(invocation: Invocation): Promise<number> {
  const { output, signal } = invocation;
  const { keyId, oldKeyIds } = await workloadKeys(invocation).replaceWorkloadKey({}, { signal });
  if (output.json) {
    output.document({ keyId, oldKeyIds });
  } else {
    output.result(`Replicas that start from now on get tokens by the key ${keyId}.`);
    output.note(
      `Tokens by ${oldKeyIds.join(", ")} are good until: hms-sys workload-key forget. Restart services before that: hms-sys restart NAME`,
    );
  }
  return ExitCode.OK;
}

/** Forgets the keys of tokens before the present one. */
export async function forgetWorkloadKey(invocation: Invocation): Promise<number> {
  const { output, options, signal } = invocation;
  const force = options.force === true;
  const { keyId, forgottenKeyIds } = await workloadKeys(invocation).forgetOldWorkloadKeys({ force }, { signal });
  if (output.json) output.document({ keyId, forgottenKeyIds });
  else if (forgottenKeyIds.length === 0) output.result(`There is no key but ${keyId}.`);
  else output.result(`Forgotten: ${forgottenKeyIds.join(", ")}. Tokens by them are refused.`);
  return ExitCode.OK;
}

/** Makes new passwords of the database's roles. */
export async function replaceDatabaseKey(invocation: Invocation): Promise<number> {
  const { output, session, signal } = invocation;
  const { roles } = await identityClient(session(), DatabaseKeyService).replaceDatabaseKey({}, { signal });
  if (output.json) output.document({ roles });
  else output.result(`New passwords: ${roles.join(", ")}.`);
  return ExitCode.OK;
}

import { identityKeys } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";

const clientOf = ({ session }: Invocation) => identityClient(session(), identityKeys.SealingKeyService);

/** Makes a new key and seals everything anew. */
export async function replace(invocation: Invocation): Promise<number> {
  const { output, signal } = invocation;
  const { keyId, oldKeyIds, resealed } = await clientOf(invocation).replaceSealingKey({}, { signal });
  if (output.json) {
    output.jsonLine({ keyId, oldKeyIds, resealed });
  } else {
    output.result(`Secrets are sealed by the key ${keyId} now; ${resealed} were sealed anew.`);
    const kept = "Copy secrets.key to where your backups' keys are, unless it only says where the key is.";
    output.note(`${kept} The old key opens until: hms-sys sealing-key forget`);
  }
  return ExitCode.OK;
}

/** Forgets the keys before the present one. */
export async function forget(invocation: Invocation): Promise<number> {
  const { output, signal } = invocation;
  const { keyId, forgottenKeyIds } = await clientOf(invocation).forgetOldSealingKeys({}, { signal });
  if (output.json) output.jsonLine({ keyId, forgottenKeyIds });
  else if (forgottenKeyIds.length === 0) output.result(`There is no key but ${keyId}.`);
  else output.result(`Forgotten: ${forgottenKeyIds.join(", ")}. Backups from before need a copy of it.`);
  return ExitCode.OK;
}

import { identityKeys } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { enumWord, humanAge } from "../../output/human.ts";
import { presentList } from "../../output/present.ts";

const { SigningKeyService, SigningKeySchema, SigningKeyState } = identityKeys;
const clientOf = ({ session }: Invocation) => identityClient(session(), SigningKeyService);

function present({ output }: Invocation, keys: identityKeys.SigningKey[]): number {
  presentList(output, {
    schema: SigningKeySchema,
    messages: keys,
    head: ["KEY", "STATE", "ALGORITHM", "MADE"],
    row: ({ kid, state, algorithm, createdAt }) => [
      kid,
      enumWord(SigningKeyState, state).replace("signing key state ", ""),
      algorithm,
      humanAge(createdAt),
    ],
    none: "Nothing has been signed yet.",
  });
  return ExitCode.OK;
}

/** Lists the keys that sign tokens. */
export async function list(invocation: Invocation): Promise<number> {
  return present(invocation, (await clientOf(invocation).listSigningKeys({}, { signal: invocation.signal })).keys);
}

/** Signs with the next key from now on. */
export async function rotate(invocation: Invocation): Promise<number> {
  return present(invocation, (await clientOf(invocation).rotateSigningKeys({}, { signal: invocation.signal })).keys);
}

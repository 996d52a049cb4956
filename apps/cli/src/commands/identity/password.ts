import { text } from "node:stream/consumers";
import { identityUsers } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { hiddenAnswer } from "../../output/hidden-answer.ts";

interface Passwords {
  currentPassword: string;
  newPassword: string;
}

/** Changes the password of who is signed in; asks on a terminal, else reads the old and the new one, each on a line. */
export async function change({ session, output, signal }: Invocation): Promise<number> {
  const client = identityClient(session(), identityUsers.UserService);
  const given = process.stdin.isTTY ? await asked(signal) : linesOf(await text(process.stdin));
  await client.changePassword(given, { signal });
  if (output.json) output.document({ changed: true });
  else output.result("The password is changed. Everything else that was signed in as you has ended.");
  return ExitCode.OK;
}

async function asked(signal: AbortSignal): Promise<Passwords> {
  const currentPassword = await hiddenAnswer("Password now: ", signal);
  const newPassword = await hiddenAnswer("New password: ", signal);
  if (newPassword === (await hiddenAnswer("New password again: ", signal))) return { currentPassword, newPassword };
  throw new HmsError("INVALID_ARGUMENT", "The new passwords are not the same. Nothing was changed; try again.");
}

function linesOf(input: string): Passwords {
  const [currentPassword = "", newPassword = ""] = input.split(/\r?\n/);
  if (currentPassword !== "" && newPassword !== "") return { currentPassword, newPassword };
  throw new HmsError("INVALID_ARGUMENT", "Give the password of now and the new one on standard input, each on a line.");
}

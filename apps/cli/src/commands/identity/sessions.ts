import { identitySessions } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { humanAge } from "../../output/human.ts";
import { presentList } from "../../output/present.ts";

const { SessionService, SessionSchema, SessionKind } = identitySessions;
const clientOf = ({ session }: Invocation) => identityClient(session(), SessionService);
const userOf = ({ options }: Invocation) => (typeof options.user === "string" ? options.user : "");

/** Lists where somebody is signed in. */
export async function list(invocation: Invocation): Promise<number> {
  const { sessions } = await clientOf(invocation).listSessions(
    { user: userOf(invocation) },
    { signal: invocation.signal },
  );
  presentList(invocation.output, {
    schema: SessionSchema,
    messages: sessions,
    head: ["SESSION", "BY", "ADDRESS", "SINCE", "LAST SEEN"],
    row: ({ sessionId, kind, client, userAgent, address, createdAt, lastSeenAt }) => [
      sessionId,
      kind === SessionKind.PROGRAM ? client : userAgent.slice(0, 40),
      address,
      humanAge(createdAt),
      humanAge(lastSeenAt),
    ],
    none: "Signed in nowhere.",
  });
  return ExitCode.OK;
}

/** Ends a session, or with `--all` every one of somebody. */
export async function revoke(invocation: Invocation): Promise<number> {
  const { args, output, signal } = invocation;
  const [sessionId = ""] = args;
  await clientOf(invocation).revokeSession({ sessionId }, { signal });
  if (output.json) output.document({ revoked: sessionId });
  else output.note(`Ended ${sessionId}.`);
  return ExitCode.OK;
}

/** Takes scopes away from a signed-in program. */
export async function narrow(invocation: Invocation): Promise<number> {
  const { args, output, signal } = invocation;
  const [sessionId = "", list = ""] = args;
  const taken = list.split(",").map((scope) => scope.trim());
  const { scopes } = await clientOf(invocation).narrowSession({ sessionId, scopes: taken }, { signal });
  if (output.json) output.document({ session: sessionId, scopes });
  else if (scopes.length === 0) output.note(`Nothing was left, so ${sessionId} has ended.`);
  else output.note(`${sessionId} may still use: ${scopes.join(", ")}.`);
  return ExitCode.OK;
}

/** Ends every session and signed-in program of somebody. */
export async function revokeAll(invocation: Invocation): Promise<number> {
  const { output, signal } = invocation;
  const { revoked } = await clientOf(invocation).revokeAllSessions({ user: userOf(invocation) }, { signal });
  if (output.json) output.document({ revoked });
  else output.note(`Ended ${revoked}.`);
  return ExitCode.OK;
}

import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { followRollout } from "../follow-rollout.ts";

/** Ends every replica and forgets the service; asks first on a terminal, needs --yes elsewhere. */
export async function run(invocation: Invocation): Promise<number> {
  const service = invocation.args[0] ?? "";
  if (invocation.options.yes !== true) await confirm(service, invocation.signal);
  const request = { service, environment: invocation.globals.environment };
  return followRollout(invocation, (options) => invocation.session().deployments.remove(request, options));
}

async function confirm(service: string, signal: AbortSignal): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `Removing ${service} forgets its history and logs: say --yes where nobody can be asked.`,
    );
  }
  const { createInterface } = await import("node:readline/promises");
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await prompt.question(`Remove ${service} with its history and logs? Type its name: `, { signal });
  prompt.close();
  if (answer.trim() !== service)
    throw new HmsError("FAILED_PRECONDITION", "Nothing was removed: that is not its name.");
}

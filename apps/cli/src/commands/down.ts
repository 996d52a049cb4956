import { existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { runningSession } from "../platform-start.ts";

const STOP_PATIENCE_MS = 90_000;

/** Stops every replica and the platform. */
export async function run({ globals, output }: Invocation): Promise<number> {
  const session = await runningSession(globals);
  if (session === undefined) {
    output.note("Nothing runs here.");
    if (output.json) output.document({ stopped: false });
    return ExitCode.OK;
  }
  output.note("Stopping …");
  await session.agent.shutdown({}, { timeoutMs: STOP_PATIENCE_MS });
  const until = Date.now() + STOP_PATIENCE_MS;
  while (existsSync(session.paths.agentSocket)) {
    if (Date.now() > until)
      throw new HmsError("DEADLINE_EXCEEDED", `The agent has not ended; its log: ${session.paths.data}/logs/agent.log`);
    await pause(50);
  }
  await session.close();
  output.note("Stopped.");
  if (output.json) output.document({ stopped: true });
  return ExitCode.OK;
}

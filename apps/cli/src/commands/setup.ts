import { readFileSync, writeFileSync } from "node:fs";
import { launcherPath } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

const SETTING = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const FILE = "/etc/sysctl.d/60-hms-sys.conf";
const DNS_PORT = 53;

/** Lets ordinary users serve mesh names: ports from 53 on, now and after a reboot. */
export async function run({ output }: Invocation): Promise<number> {
  if (process.platform !== "linux") {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `There is nothing to set up on ${process.platform}: mesh names work by proxy variables there.`,
    );
  }
  const current = Number(readFileSync(SETTING, "utf8"));
  if (current <= DNS_PORT) {
    return done("Set up already: ordinary users may serve ports from 53 on.", output);
  }
  if (process.getuid?.() !== 0)
    throw new HmsError("PERMISSION_DENIED", `This needs root once: sudo ${launcherPath()} setup`);
  writeFileSync(
    FILE,
    `# Lets ordinary users serve the mesh's names (53) and addresses (80).\nnet.ipv4.ip_unprivileged_port_start = ${DNS_PORT}\n`,
  );
  writeFileSync(SETTING, String(DNS_PORT));
  return done(`Done: ordinary users may serve ports from ${DNS_PORT} on. Undo: sudo rm ${FILE}, then reboot.`, output);
}

function done(message: string, output: Invocation["output"]): number {
  if (output.json) output.document({ message, firstPort: DNS_PORT, file: FILE });
  else output.result(message);
  return ExitCode.OK;
}

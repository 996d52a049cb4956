import { spawn } from "node:child_process";
import { once } from "node:events";
import { programPath, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { type PlacementOptions, placeParts } from "@hms/parts";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

/** The options that the server's own command line has too. */
const PASSED_ON = {
  only: "--only",
  listen: "--listen",
  at: "--at",
  tlsCert: "--tls-cert",
  tlsKey: "--tls-key",
  tlsCa: "--tls-ca",
  partKey: "--part-key",
} satisfies Partial<Record<keyof PlacementOptions, string>>;

/** Runs some parts of the platform until it is ended. */
export async function run({ options, globals }: Invocation): Promise<number> {
  const paths = resolveInstance(globals);
  if (options.only === undefined) {
    throw new HmsError("INVALID_ARGUMENT", "Say which parts: --only registry, for example. All of them: hms-sys up.");
  }
  // What is wrong is said here, as every command does, and not in the server's log.
  placeParts(options as PlacementOptions, paths);
  const passed = Object.entries(PASSED_ON).flatMap(([name, flag]) => {
    const value = options[name];
    return typeof value === "string" ? [flag, value] : [];
  });
  const args = [programPath("server"), "--instance", paths.instance, "--data", paths.data, ...passed];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  // Ctrl-C reaches the child by itself; it ends as on SIGTERM.
  process.on("SIGINT", () => child.kill("SIGTERM"));
  process.once("SIGTERM", () => child.kill("SIGTERM"));
  const [code] = await once(child, "exit");
  return code === 0 ? ExitCode.OK : ExitCode.ERROR;
}

import { readNetwork, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { readPlatformHost } from "@hms/local-access";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { deviceLogin } from "../../login/device-login.ts";
import { writeLogin } from "../../login/login-file.ts";

/** Signs a person in; later commands act as that person. */
export async function run({ globals, output, signal }: Invocation): Promise<number> {
  const paths = resolveInstance(globals);
  const network = readNetwork(paths);
  if (network === undefined)
    throw new HmsError("UNAVAILABLE", "This instance has never been started. Start it with: hms-sys up");
  const issuer = `http://${readPlatformHost(paths.platformHost)}:${network.gatewayPort}/oidc`;
  const login = await deviceLogin(
    issuer,
    ({ userCode, address }) => {
      if (output.json) output.jsonLine({ userCode, address });
      else output.result(`Open ${address} and type the code ${userCode}`);
    },
    signal,
  );
  writeLogin(paths.login, login);
  output.note("Signed in. Commands act as you until: hms-sys logout");
  return ExitCode.OK;
}

import { resolveInstance } from "@hms/config";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { revokeLogin } from "../../login/device-login.ts";
import { underLockFile } from "../../login/lock-file.ts";
import { readLogin, removeLogin } from "../../login/login-file.ts";

/** Ends the login of the command line, here and at the platform. */
export async function run({ globals, output, signal }: Invocation): Promise<number> {
  const { login: file } = resolveInstance(globals);
  const wasSignedIn = await underLockFile(`${file}.lock`, async () => {
    const login = readLogin(file);
    if (login === undefined) return false;
    try {
      await revokeLogin(login, signal);
    } finally {
      removeLogin(file);
    }
    return true;
  });
  output.note(wasSignedIn ? "Signed out." : "Nobody was signed in.");
  return ExitCode.OK;
}

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";

/**
 * Where an operator keeps a secret that is not ours to keep: in a file that something else puts there (systemd's credentials,
 * secrets of Docker and Kubernetes), or behind a command that prints it (a vault's client), which `/bin/sh -c` runs.
 */
export type SecretSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "command"; readonly command: string };

const PATIENCE_MS = 10_000;
const MOST_BYTES = 65_536;

/**
 * Reads a secret from where it is kept, without the end of its last line; waits 10 s for a command. `name` says in errors what
 * would be it ("DATABASE_URL_COMMAND").
 * @throws HmsError FAILED_PRECONDITION if nothing can be had from there, or more than 64 KiB
 */
export function readSecretSource(source: SecretSource, name: string): string {
  const secret = (source.kind === "file" ? contentOf(source.path, name) : outputOf(source.command, name)).trimEnd();
  if (secret !== "") return secret;
  throw unusable(name, source.kind === "file" ? `${source.path} is empty` : "its command prints nothing");
}

function contentOf(path: string, name: string): string {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (error) {
    throw unusable(name, `${path} cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
  if (content.length > MOST_BYTES) throw unusable(name, `${path} is larger than 64 KiB`);
  return content.toString();
}

function outputOf(command: string, name: string): string {
  try {
    const stdio = ["ignore", "pipe", "pipe"] as const;
    const limits = { timeout: PATIENCE_MS, maxBuffer: MOST_BYTES, killSignal: "SIGKILL" } as const;
    return execFileSync("/bin/sh", ["-c", command], { ...limits, stdio: [...stdio], encoding: "utf8" });
  } catch (error) {
    throw unusable(name, howItFailed(error as ExecError), { code: (error as ExecError).code });
  }
}

interface ExecError extends NodeJS.ErrnoException {
  status?: number | null;
  stderr?: string;
}

/** Never what it printed to its output: that may be the secret. */
function howItFailed({ code, status, stderr = "" }: ExecError): string {
  if (code === "ETIMEDOUT") return `its command did not end within ${PATIENCE_MS / 1000} s`;
  if (code === "ENOBUFS") return "its command prints more than 64 KiB";
  const said = stderr.trim().split("\n")[0]?.slice(0, 200) ?? "";
  return `its command ended with ${status ?? code}${said === "" ? "" : `: ${said}`}`;
}

function unusable(name: string, why: string, cause?: unknown): HmsError {
  const message = `${name} gives no secret: ${why}. Repair it; nothing else is taken instead.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "SECRET_SOURCE_UNUSABLE", cause });
}

import { readFileSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";

const MOST_BYTES = 65_536;

/**
 * Reads a secret from a file that something else puts there (systemd's credentials, a vault's agent, secrets of Docker and
 * Kubernetes), without the end of its last line. `name` says in errors what named the file ("DATABASE_URL_FILE").
 * @throws HmsError FAILED_PRECONDITION if it cannot be read, is empty, or holds more than 64 KiB
 */
export function readSecretFile(path: string, name: string): string {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (error) {
    throw unusable(name, `${path} cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
  if (content.length > MOST_BYTES) throw unusable(name, `${path} is larger than 64 KiB`);
  const secret = content.toString().trimEnd();
  if (secret === "") throw unusable(name, `${path} is empty`);
  return secret;
}

function unusable(name: string, why: string, cause?: unknown): HmsError {
  const message = `${name} gives no secret: ${why}. Put it there; nothing else is taken instead.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "SECRET_FILE_UNUSABLE", cause });
}

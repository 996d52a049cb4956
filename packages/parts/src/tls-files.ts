import { readFileSync, statSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";
import type { TlsIdentity } from "@hms/wire";

/** Files in PEM: a certificate, its key, and the authority of everybody's certificates. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

type Texts = Record<keyof TlsFiles, string>;

/** A renewed certificate is used after at most this long. */
const LOOK_AGAIN_MS = 1_000;

/**
 * An identity from files, read again when they change.
 * @throws HmsError FAILED_PRECONDITION if one of them cannot be read
 */
export function openTlsFiles(files: TlsFiles): TlsIdentity {
  let texts = readAll(files);
  let version = versionOf(files);
  let lookAt = performance.now() + LOOK_AGAIN_MS;
  const current = (): Texts => {
    if (performance.now() < lookAt) return texts;
    lookAt = performance.now() + LOOK_AGAIN_MS;
    const now = versionOf(files);
    if (now === version) return texts;
    texts = readAll(files);
    version = now;
    return texts;
  };
  return { cert: () => current().cert, key: () => current().key, ca: () => current().ca };
}

function versionOf({ cert, key, ca }: TlsFiles): string {
  return [cert, key, ca].map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs).join(" ");
}

function readAll({ cert, key, ca }: TlsFiles): Texts {
  return { cert: readPem(cert), key: readPem(key), ca: readPem(ca) };
}

function readPem(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    const message = `${file} cannot be read: name a file in PEM that this user may read.`;
    throw new HmsError("FAILED_PRECONDITION", message, { cause });
  }
}

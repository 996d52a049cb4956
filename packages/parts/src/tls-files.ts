import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
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

/** The files of a folder that keeps them by their usual names: cert.pem, key.pem, ca.pem. */
export function tlsFilesIn(folder: string): TlsFiles {
  return { cert: `${folder}/cert.pem`, key: `${folder}/key.pem`, ca: `${folder}/ca.pem` };
}

/**
 * Makes sure that a server can be what the files say.
 * @throws HmsError FAILED_PRECONDITION, saying what is missing or does not fit
 */
export function requireServerFiles(files: TlsFiles): void {
  const { cert, key, ca } = readAll(files);
  try {
    createSecureContext({ cert, key, ca, minVersion: "TLSv1.3" });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `${files.cert}, ${files.key} and ${files.ca} cannot be used together (${why}): they must be in PEM, and the key that of the certificate.`;
    throw new HmsError("FAILED_PRECONDITION", message, { cause });
  }
}

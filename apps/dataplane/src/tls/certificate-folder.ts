import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { Certificate } from "@hms/proxy";
import { readTlsSettings, type TlsSettings } from "./tls-settings.ts";

/** What the operator has put into the folder of the gateway's certificates. */
export interface CertificateFolder {
  /** The first one is shown to who asks for none of the names. */
  readonly certificates: readonly Certificate[];
  readonly settings: TlsSettings;
  /** clients.pem: the authorities of clients' certificates, PEM; undefined: clients are not asked for one. */
  readonly clientAuthorities: string | undefined;
  /** Changes with every change of the files. */
  readonly digest: string;
}

/**
 * Reads cert.pem and key.pem of the folder and of the folders in it, or combined.pem, which holds both, settings.json and clients.pem;
 * undefined if there is no certificate. @throws Error naming the file that cannot be read or used.
 */
export function readCertificateFolder(folder: string): CertificateFolder | undefined {
  const pairs = [folder, ...subfolders(folder)].flatMap((place) => pairIn(place));
  if (pairs.length === 0) return undefined;
  const settingsText = textOf(`${folder}/settings.json`);
  const clientAuthorities = textOf(`${folder}/clients.pem`);
  const digest = createHash("sha256");
  for (const { cert, key } of pairs) digest.update(cert).update("\0").update(key).update("\0");
  return {
    certificates: pairs,
    settings: readTlsSettings(settingsText, `${folder}/settings.json`),
    clientAuthorities,
    digest: digest.update(JSON.stringify([settingsText, clientAuthorities])).digest("hex"),
  };
}

function subfolders(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${folder}/${name}`)
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

function pairIn(folder: string): { cert: string; key: string }[] {
  // One file changes at one moment.
  const combined = textOf(`${folder}/combined.pem`);
  if (combined !== undefined) return [{ cert: combined, key: combined }];
  const [cert, key] = [textOf(`${folder}/cert.pem`), textOf(`${folder}/key.pem`)];
  if (cert === undefined && key === undefined) return [];
  const missing = cert === undefined ? "cert.pem" : "key.pem";
  if (cert === undefined || key === undefined)
    throw new Error(`${folder} has no ${missing}; a certificate is both files`);
  return [{ cert, key }];
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

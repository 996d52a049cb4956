import { X509Certificate } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";

/** A certificate that the gateway shows. */
export interface ShownCertificate {
  readonly folder: string;
  readonly names: readonly string[];
  /** From when until when it is good, milliseconds since 1970. */
  readonly from: number;
  readonly until: number;
}

/** The certificates in the gateway's folder and the folders in it; what cannot be read is left out, as the gateway does. */
export function shownCertificates(folder: string): ShownCertificate[] {
  return [folder, ...foldersIn(folder)].flatMap((place) => {
    for (const file of ["combined.pem", "cert.pem"]) {
      try {
        const certificate = new X509Certificate(readFileSync(`${place}/${file}`));
        const names = (certificate.subjectAltName ?? "")
          .split(", ")
          .map((name) => name.replace(/^(?:DNS|IP Address):/, ""));
        const [from, until] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
        return [{ folder: place, names, from, until }];
      } catch {
        // Not there, or none: /healthz of the data plane says what is wrong with it.
      }
    }
    return [];
  });
}

function foldersIn(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => `${folder}/${name}`);
  } catch {
    return [];
  }
}

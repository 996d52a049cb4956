import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { AcmeFolder, type AcmeSettings, acmeSettingsText, parseAcmeSettings } from "@hms/acme";
import type { InstancePaths } from "@hms/config";

type Places = Pick<InstancePaths, "acme" | "acmeChallenges" | "acmeFile" | "gatewayTls">;

/** What is set about ACME; undefined: nothing. @throws HmsError INVALID_ARGUMENT with every problem of the file. */
export function readAcmeFile({ acmeFile }: Places): AcmeSettings | undefined {
  if (!existsSync(acmeFile)) return undefined;
  return parseAcmeSettings(readFileSync(acmeFile, "utf8"), acmeFile);
}

/** Sets it; the server sees it at once. @throws HmsError INVALID_ARGUMENT, having changed nothing, if it cannot be used. */
export function writeAcmeFile({ acmeFile }: Places, settings: AcmeSettings): void {
  const text = acmeSettingsText(settings);
  parseAcmeSettings(text, "what would be set");
  writeFileSync(`${acmeFile}.new`, text, { mode: 0o600 });
  renameSync(`${acmeFile}.new`, acmeFile);
}

/** Where the certificates are. */
export function acmeFolder({ acme, acmeChallenges, gatewayTls }: Places): AcmeFolder {
  return new AcmeFolder({ folder: acme, certificates: gatewayTls, challenges: acmeChallenges });
}

import { AcmeFolder, AcmeKeeper, type AcmeKeeperOptions, parseAcmeSettings } from "@hms/acme";
import type { InstancePaths } from "@hms/config";
import { openConfigFile } from "@hms/config-file";
import type { Logger } from "@hms/telemetry";

/** What certificates by ACME are kept with. */
export interface AcmeGround {
  paths: InstancePaths;
  exclusively: AcmeKeeperOptions["exclusively"];
  log: Logger;
}

/** Obtains certificates for the names in acme.json and renews them; a change of the file holds at once. */
export function openAcme({ paths, exclusively, log }: AcmeGround, stack: AsyncDisposableStack): void {
  const { acmeFile, acme, gatewayTls, acmeChallenges } = paths;
  const folder = new AcmeFolder({ folder: acme, certificates: gatewayTls, challenges: acmeChallenges });
  const keeper = stack.use(new AcmeKeeper({ folder, exclusively, log }));
  let isBroken = false;
  const file = stack.use(
    openConfigFile({
      path: acmeFile,
      parse: (text) => parseAcmeSettings(text, acmeFile),
      absent: undefined,
      access: "public",
      onChange: (settings) => keeper.use(settings),
      onFailure(failure) {
        isBroken = true;
        log.error(`certificates by ACME: ${failure.message}; what held before goes on`);
      },
    }),
  );
  // What is shown already goes on being shown if the file cannot be read.
  if (!isBroken) keeper.use(file.current);
}

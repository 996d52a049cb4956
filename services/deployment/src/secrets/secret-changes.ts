import type { Change } from "@hms/manifest";
import type { SecretVersions } from "./secret-tables.ts";

const shown = (version: number | undefined) => (version === undefined ? "" : `version ${version}`);

/** What differs between the secrets of two revisions, by name. */
export function secretChanges(before: SecretVersions | undefined, after: SecretVersions): Change[] {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after)])].sort();
  return names
    .filter((name) => before?.[name] !== after[name])
    .map((name) => ({ key: `secret ${name}`, before: shown(before?.[name]), after: shown(after[name]) }));
}

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { HmsError } from "@hms/kernel/errors";

const ENDING = ".hms.yml";
const DEEPEST = 5;
const MOST = 200;
const NOT_LOOKED_INTO = new Set(["node_modules", "dist", "vendor"]);

/**
 * The manifests that arguments name: files as they are, folders with all that lie in and below them, in the order of their
 * paths. Hidden folders, node_modules, dist and vendor are not looked into.
 * @throws HmsError INVALID_ARGUMENT for a folder without any, or with too many
 */
export function findManifests(places: readonly string[]): string[] {
  const files = places.flatMap((place) => {
    if (!isFolder(place)) return [place];
    const found = [...below(place, 0)];
    if (found.length === 0)
      throw refused(`There is no manifest (*${ENDING}) in ${place} or below. Name files instead.`);
    if (found.length > MOST) throw refused(`There are ${found.length} manifests below ${place}; name at most ${MOST}.`);
    return found;
  });
  return [...new Set(files)];
}

function* below(folder: string, depth: number): Generator<string> {
  const entries = readdirSync(folder, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isFile() && entry.name.endsWith(ENDING)) yield path;
    const isOpen = entry.isDirectory() && !entry.name.startsWith(".") && !NOT_LOOKED_INTO.has(entry.name);
    if (isOpen && depth < DEEPEST) yield* below(path, depth + 1);
  }
}

// What does not exist is told on when it is read.
const isFolder = (place: string) => statSync(place, { throwIfNoEntry: false })?.isDirectory() ?? false;

const refused = (message: string) => new HmsError("INVALID_ARGUMENT", message);

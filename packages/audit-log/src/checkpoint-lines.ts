import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const NAME = /^\d{4}-\d{2}-\d{2}\.jws$/;

/** Every checkpoint of a folder of files, one a day, or of one file, in its order; a last line that is cut short is none. */
export function* checkpointLines(place: string): Generator<string> {
  for (const file of statSync(place).isDirectory() ? checkpointFiles(place) : [place]) {
    for (const line of readFileSync(file, "utf8").split("\n")) if (line.trim() !== "") yield line.trim();
  }
}

/** The files of a folder, oldest first. */
export function checkpointFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => NAME.test(name))
    .sort()
    .map((name) => join(folder, name));
}

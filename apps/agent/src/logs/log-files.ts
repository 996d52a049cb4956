import { readdir } from "node:fs/promises";

/** Log files are numbered upwards and never renamed, so that a reader's place stays valid while they rotate. */
const NAME = /^(\d{8})\.log$/;

/** The path of one numbered file of a log. */
export function logFilePath(directory: string, number: number): string {
  return `${directory}/${String(number).padStart(8, "0")}.log`;
}

/** The numbers of the files of a log, oldest first; none if the log does not exist. */
export async function logFileNumbers(directory: string): Promise<number[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names.flatMap((name) => Number(NAME.exec(name)?.[1] ?? []) || []).sort((a, b) => a - b);
}

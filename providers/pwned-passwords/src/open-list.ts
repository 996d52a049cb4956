import { stat } from "node:fs/promises";
import { HashFile } from "./hash-file.ts";
import { unreadable } from "./list-error.ts";
import { RangeFolder } from "./range-folder.ts";

/** A list that was opened, of either form. */
export interface OpenedList extends AsyncDisposable {
  /** What it is, for people. */
  readonly form: "file" | "folder of ranges";
  /** In bytes; undefined for a folder. */
  readonly size?: number;
  countOf(hash: string): Promise<number>;
  check(): Promise<void>;
}

/** Opens a list, whatever its form. @throws HmsError FAILED_PRECONDITION if it is not there or cannot be read. */
export async function openList(path: string): Promise<OpenedList> {
  const remedy = "Name what is there as breached_passwords, or fetch it again.";
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    (error) => {
      throw unreadable(path, error, remedy);
    },
  );
  if (isFolder) {
    const folder = new RangeFolder(path);
    return {
      form: "folder of ranges",
      countOf: (hash) => folder.countOf(hash),
      check: () => folder.check(),
      [Symbol.asyncDispose]: async () => {},
    };
  }
  const file = await HashFile.open(path);
  return {
    form: "file",
    size: file.size,
    countOf: (hash) => file.countOf(hash),
    check: () => file.check(),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

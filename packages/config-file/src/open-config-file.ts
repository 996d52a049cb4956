import { closeSync, type FSWatcher, fstatSync, openSync, readFileSync, watch } from "node:fs";
import { dirname } from "node:path";
import { HmsError } from "@hms/kernel/errors";

/** A configuration file that is read again when it changes. */
export interface ConfigFileOptions<T> {
  path: string;
  /** @throws HmsError if the text cannot be used */
  parse: (text: string) => T;
  /** What holds without the file. */
  absent: T;
  /** Whether others may read it; what others may write is never used. */
  access: "public" | "private";
  /** Hears each change but the first reading. */
  onChange: (now: T, before: T) => void;
  /** Hears why the file cannot be used; what was read last stays in force. */
  onFailure: (failure: HmsError) => void;
}

/** What a configuration file says now. */
export interface ConfigFile<T> extends Disposable {
  readonly current: T;
  /** Reads it again now, if it has changed. */
  reload(): void;
}

const LARGEST = 4 * 1024 * 1024;
/** Editors write a file in several steps. */
const SETTLE_MS = 30;
/** Where the system tells of no changes (network file systems). */
const LOOK_AGAIN_MS = 5000;

/**
 * Opens a configuration file: a change holds within about 50 ms, 5 s at most; a file that is broken, or that others may
 * write (or read, where it is private), is told of and leaves in force what was read last, at the start `absent`.
 */
export function openConfigFile<T>(options: ConfigFileOptions<T>): ConfigFile<T> {
  const { path, parse, absent, onChange, onFailure } = options;
  let current = absent;
  let seen: string | undefined;
  let started = false;
  const reload = () => {
    let mark = "";
    try {
      const { text, mode } = readGuarded(path);
      mark = `${mode}:${text}`;
      if (mark === seen) return;
      seen = mark;
      const before = current;
      current = text === undefined ? absent : parse(guarded(text, mode, options));
      if (started) onChange(current, before);
    } catch (error) {
      const failure = HmsError.from(error);
      if (mark !== "" || failure.message !== seen) onFailure(failure);
      if (mark === "") seen = failure.message;
    }
  };
  reload();
  started = true;
  const watcher = watchFolder(dirname(path), reload);
  const timer = setInterval(reload, LOOK_AGAIN_MS).unref();
  return {
    get current() {
      return current;
    },
    reload,
    [Symbol.dispose]() {
      clearInterval(timer);
      watcher[Symbol.dispose]();
    },
  };
}

/** The whole folder, because editors and mounted configuration replace files by renaming. */
function watchFolder(folder: string, changed: () => void): Disposable {
  let settling: NodeJS.Timeout | undefined;
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(folder, { persistent: false }, () => {
      settling ??= setTimeout(() => {
        settling = undefined;
        changed();
      }, SETTLE_MS).unref();
    });
    // The look each 5 s goes on.
    watcher.on("error", () => watcher?.close());
  } catch {
    watcher = undefined;
  }
  return {
    [Symbol.dispose]() {
      clearTimeout(settling);
      watcher?.close();
    },
  };
}

function readGuarded(path: string): { text: string | undefined; mode: number } {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { text: undefined, mode: 0 };
    throw unreadable(path, (error as Error).message);
  }
  try {
    const { mode, size } = fstatSync(file);
    if (size > LARGEST) throw unreadable(path, `it is larger than ${LARGEST} bytes`);
    return { text: readFileSync(file, "utf8"), mode: mode & 0o777 };
  } finally {
    closeSync(file);
  }
}

function guarded<T>(text: string, mode: number, { path, access }: ConfigFileOptions<T>): string {
  const forbidden = access === "private" ? 0o077 : 0o022;
  if ((mode & forbidden) === 0) return text;
  const what = access === "private" ? "open to others; it holds secrets" : "writable by others";
  const remedy = access === "private" ? `chmod 600 ${path}` : `chmod go-w ${path}`;
  throw new HmsError("FAILED_PRECONDITION", `${path} is ${what} and is not used. Run: ${remedy}`, {
    reason: "CONFIG_FILE_OPEN",
  });
}

function unreadable(path: string, why: string): HmsError {
  return new HmsError("FAILED_PRECONDITION", `${path} cannot be read: ${why}.`, { reason: "CONFIG_FILE_UNREADABLE" });
}

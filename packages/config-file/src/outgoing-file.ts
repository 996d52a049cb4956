import { HmsError, narrowOutgoing, OutgoingHosts, outgoingEntryProblem } from "@hms/kernel";
import { openConfigFile } from "./open-config-file.ts";
import { readRecords } from "./read-records.ts";

const NOTHING = new OutgoingHosts([]);

/** Where the list of hosts is, and who hears of it. */
export interface OutgoingFileOptions {
  readonly path: string;
  /** Hears why the file cannot be used. */
  onFailure(failure: HmsError): void;
}

/**
 * Has this process connect to the hosts that the file names only, `{"hosts": ["hooks.example.org", "*.corp.example",
 * "10.0.0.0/8"]}`, and to its own machine; a change holds for the next connection. Without the file nothing is narrowed. One
 * that is broken leaves in force what was read last; at the start nothing but this machine is reached then.
 */
export function openOutgoingFile({ path, onFailure }: OutgoingFileOptions): Disposable {
  const stack = new DisposableStack();
  let isBroken = false;
  const file = stack.use(
    openConfigFile<OutgoingHosts | undefined>({
      path,
      parse: (text) => parseOutgoing(text, path),
      absent: undefined,
      access: "public",
      onChange() {
        isBroken = false;
      },
      onFailure(failure) {
        isBroken = true;
        onFailure(failure);
      },
    }),
  );
  stack.use(narrowOutgoing(() => file.current ?? (isBroken ? NOTHING : undefined)));
  return stack;
}

/** Reads outgoing.json. @throws HmsError INVALID_ARGUMENT with every problem, its line and column. */
export function parseOutgoing(text: string, fileName: string): OutgoingHosts {
  const [list, ...others] = readRecords(text, {
    fileName,
    listKey: "outgoing",
    read: (reader) => reader.texts("hosts", { check: outgoingEntryProblem }),
  });
  if (list === undefined || others.length > 0) {
    const message = `${fileName} has to be one object, {"hosts": ["hooks.example.org", "10.0.0.0/8"]}; with [] only this machine is reached.`;
    throw new HmsError("INVALID_ARGUMENT", message, { reason: "CONFIG_FILE_INVALID" });
  }
  return new OutgoingHosts(list);
}

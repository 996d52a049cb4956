import type { PartName } from "@hms/config";
import type { ListenerKeeper } from "@hms/handover";
import type { ProcessIdentity } from "../launcher/process-identity.ts";

/** How one of the platform's own processes is started. */
interface ComponentCommand {
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
}

/** One of the platform's own processes. */
export interface ComponentSpec {
  name: "postgres" | "server" | "dataplane" | PartName;
  /** Runs before every start. */
  prepare?: () => Promise<void>;
  command: () => ComponentCommand;
  /** Asks it to end by itself. */
  stopSignal: NodeJS.Signals;
  /** The same, when a successor has taken over already; default the stop signal. */
  replacedSignal?: NodeJS.Signals;
  /** From the stop signal to SIGKILL. */
  stopGraceMs: number;
  /** Why it ended, from the last words of its log; default: the log's place. */
  explainEnd?: (lastWords: string) => string;
  /** True once it does its work. */
  isReady: () => Promise<boolean>;
  /** Keeps its listening sockets, so that one process replaces another without a refused connection. */
  listeners?: ListenerKeeper;
  /** A process that does this work already, though the agent's own notes do not know it. */
  running?: () => ProcessIdentity | undefined;
}

import { pino } from "pino";

/** Facts beside a message; an Error is written with its stack. */
export type LogFields = Record<string, unknown>;

/** Writes one JSON line for each message: time, level, name, message and the fields. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** What waits in memory while the disk of a log is full; what is said beyond it is counted. */
const WAITING_BYTES = 64 * 1024;

/**
 * Makes the logger of a process; it writes to stderr at once, so that the last words before a crash are kept. It never
 * throws: while its disk is full 64 KiB wait, and how much more was lost is said once there is room.
 */
export function createLogger(name: string): Logger {
  const destination = pino.destination({ fd: 2, sync: true, maxLength: WAITING_BYTES });
  let lost = 0;
  // Without a listener a failed write would be thrown at whoever had something to say, and end the process.
  destination.on("error", () => {});
  destination.on("drop", () => {
    lost += 1;
  });
  destination.on("write", () => {
    if (lost === 0) return;
    const lines = lost;
    lost = 0;
    setImmediate(() => inner.warn({ lines }, "lines of this log were lost while its disk was full"));
  });
  const inner = pino(
    {
      base: { name },
      messageKey: "message",
      errorKey: "error",
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  const at =
    (level: "debug" | "info" | "warn" | "error") =>
    (message: string, fields: LogFields = {}) =>
      inner[level](fields, message);
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

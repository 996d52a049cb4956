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

/** Makes the logger of a process; it writes to stderr at once, so that the last words before a crash are kept. */
export function createLogger(name: string): Logger {
  const destination = pino.destination({ fd: 2, sync: true });
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

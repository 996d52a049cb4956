import type { HostEnvironment } from "@hms/config";
import type { HmsError } from "@hms/kernel/errors";
import type { GlobalOptions } from "../command-spec.ts";
import { createPainter, type Painter } from "./painter.ts";
import { printable } from "./printable.ts";
import { renderError } from "./render-error.ts";

/** Where a command's words go: results to stdout, talk to stderr. */
export interface Output {
  readonly json: boolean;
  /** True if stderr is a terminal that shows live progress. */
  readonly live: boolean;
  readonly paint: Painter;
  /** A line of the result. */
  result(line: string): void;
  /** The result as one JSON document, under `-o json`. */
  document(value: unknown): void;
  /** One JSON document a line, for results that come bit by bit. */
  jsonLine(value: unknown): void;
  /** Talk: shown unless quiet. */
  note(line: string): void;
  /** Raw text on stderr, for live progress. */
  talk(text: string): void;
  error(error: HmsError): void;
}

/** Bigints as numbers where exact, else as strings; bytes as text. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  return value;
}

/** Makes the output of a command. */
export function createOutput(globals: Pick<GlobalOptions, "output" | "quiet">, host: HostEnvironment): Output {
  const json = globals.output === "json";
  const color = (stream: NodeJS.WriteStream) => host.forceColor || (Boolean(stream.isTTY) && !host.noColor);
  const errorPaint = createPainter(color(process.stderr));
  const print = (line: string) => process.stdout.write(`${line}\n`);
  return {
    json,
    live: Boolean(process.stderr.isTTY) && !json && !globals.quiet && !host.ci,
    paint: createPainter(color(process.stdout)),
    result: (line) => print(printable(line)),
    document: (value) => print(JSON.stringify(value, plain, 2)),
    jsonLine: (value) => print(JSON.stringify(value, plain)),
    note: (line) => {
      if (!globals.quiet) process.stderr.write(`${printable(line)}\n`);
    },
    talk: (text) => {
      if (!globals.quiet) process.stderr.write(text);
    },
    error: (error) => {
      if (json) print(JSON.stringify({ error: { code: error.code, message: error.message, ...error.details } }));
      else process.stderr.write(printable(renderError(error, errorPaint)));
    },
  };
}

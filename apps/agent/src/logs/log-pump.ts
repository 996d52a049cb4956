import type { Readable } from "node:stream";
import { agent } from "@hms/contracts";
import { LineSplitter } from "./line-splitter.ts";
import type { LogRecord } from "./log-record.ts";
import type { LogWriter } from "./log-writer.ts";
import { ReadBudget, type ReadRate } from "./read-budget.ts";

/** Moves a program's output into its log. */
export interface LogPump {
  /** Resolves when both streams have ended and everything is stored, or the pump was cut off. */
  done: Promise<void>;
  /** The last line that the program wrote to stderr, empty if none. */
  lastErrorLine(): string;
}

/** Starts moving lines, at the pace of the disk and of the budget; a program that writes faster is made to wait. */
export function pumpLogs(
  streams: { stdout: Readable; stderr: Readable },
  writer: LogWriter,
  rate: Partial<ReadRate> = {},
): LogPump {
  const budget = new ReadBudget(rate);
  let lastError = "";
  const pump = async (source: Readable, stream: agent.LogStream) => {
    const splitter = new LineSplitter();
    const store = async (pieces: ReturnType<LineSplitter["push"]>) => {
      const timeMs = Date.now();
      if (stream === agent.LogStream.STDERR) lastError = pieces.at(-1)?.text.toString() ?? lastError;
      await writer.append(pieces.map((piece): LogRecord => ({ ...piece, timeMs, stream })));
    };
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        const pieces = splitter.push(chunk);
        await store(pieces);
        await budget.spend(chunk.length, pieces.length);
      }
    } catch {
      // Cut off: the program goes on, and whoever adopts it reads on.
    }
    await store(splitter.flush());
  };
  const { STDOUT, STDERR } = agent.LogStream;
  const both = Promise.all([pump(streams.stdout, STDOUT), pump(streams.stderr, STDERR)]);
  return { done: both.then(() => {}), lastErrorLine: () => lastError };
}

import type { Socket } from "node:net";
import { agent } from "@hms/contracts";
import { SecretMask } from "@hms/secrets";
import type { Fifo } from "../launcher/fifo.ts";
import { type LinePiece, LineSplitter } from "./line-splitter.ts";
import type { LogWriter } from "./log-writer.ts";
import { ReadBudget, type ReadRate } from "./read-budget.ts";

/** Moves a program's output into its log. */
export interface LogPump {
  /** Resolves when both streams have ended and everything is stored, or the pump was cut off. */
  done: Promise<void>;
  /** The last line that the program wrote to stderr, empty if none. */
  lastErrorLine(): string;
}

const SHOWN_BYTES = 1000;

/** How lines are moved. */
export interface LogPumpOptions {
  rate?: Partial<ReadRate>;
  /** Hides the program's secrets before anything is stored. */
  mask?: SecretMask;
}

/** Starts moving lines, at the pace of the disk and of the budget; a program that writes faster is made to wait. */
export function pumpLogs(
  streams: { stdout: Fifo; stderr: Fifo },
  writer: LogWriter,
  { rate = {}, mask = new SecretMask([]) }: LogPumpOptions = {},
): LogPump {
  const budget = new ReadBudget(rate);
  let lastError = "";
  const pump = (source: Fifo, stream: agent.LogStream) => {
    const splitter = new LineSplitter();
    const masked = mask.stream();
    const store = (pieces: readonly LinePiece[]) => {
      const timeMs = Date.now();
      const last = stream === agent.LogStream.STDERR ? pieces.at(-1) : undefined;
      if (last) lastError = last.text.toString("utf8", 0, SHOWN_BYTES);
      return writer.append(pieces.map(({ text, continues }) => ({ text, continues, timeMs, stream })));
    };
    const take = async (chunk: Buffer, socket: () => Socket) => {
      const pieces = splitter.push(masked.push(chunk));
      // The chunk is copied before the first wait.
      const stored = store(pieces);
      const [bytes, lines] = [chunk.length, pieces.length];
      await stored;
      await budget.spend(bytes, lines);
      socket().resume();
    };
    const socket: Socket = source.each((chunk) => {
      void take(chunk, () => socket);
      return false;
    });
    return new Promise<void>((resolve) => {
      // After its end, or cut off: then whoever adopts the program reads on.
      socket.once("close", () => resolve(store([...splitter.push(masked.end()), ...splitter.flush()])));
    });
  };
  const { STDOUT, STDERR } = agent.LogStream;
  const both = Promise.all([pump(streams.stdout, STDOUT), pump(streams.stderr, STDERR)]);
  return { done: both.then(() => {}), lastErrorLine: () => lastError };
}

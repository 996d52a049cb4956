import { setTimeout as delay } from "node:timers/promises";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { automationRuns } from "@hms/contracts";
import type { Durable, LogPiece, RunProgress, RunView } from "@hms/durable";
import type { CallContext } from "@hms/kernel";
import { readRunCursor, readStepCursor, writeRunCursor, writeStepCursor } from "./log-cursor.ts";
import type { RunFollower } from "./run-follower.ts";

const LOOK_EVERY_MS = 250;
const PIECES_AT_ONCE = 200;

/** What a log is read from. */
export interface LogSource {
  readonly durable: Pick<Durable, "logs" | "runLogs">;
  readonly follower: Pick<RunFollower, "follow">;
  readonly untilEnd: (context: CallContext) => AbortSignal;
}

interface Piece extends LogPiece {
  readonly node: string;
  readonly target: string;
  readonly cursor: string;
}

/** The log of a run or of one of its steps from a cursor on, and what comes, if it is followed, until the run has ended. */
export async function* readLogs(
  { durable, follower, untilEnd }: LogSource,
  request: automationRuns.ReadRunLogsRequest,
  { context, read }: { context: CallContext; read: () => Promise<RunView> },
) {
  const pages = pageReader(durable, request);
  const signal = untilEnd(context);
  using followed = follower.follow(request.runId);
  await read();
  let known: RunProgress | undefined;
  let awaited: Promise<RunProgress | undefined> | undefined;
  let isOver = !request.follow;
  for (;;) {
    const pieces = await pages();
    for (const { at, attempt, seq, text, node, target, cursor } of pieces) {
      yield { node, target, attempt, seq, text, cursor, time: timestampFromDate(at) };
    }
    if (pieces.length === PIECES_AT_ONCE) continue;
    if (isOver) return;
    // What a step has said is written before it ends, so that after the run's end nothing comes.
    const late = delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => {
      throw signal.reason;
    });
    // One wait for a change at a time, however long the run is quiet.
    awaited ??= followed.next(signal, known);
    const progress = await Promise.race([awaited, late]);
    await late;
    if (progress) awaited = undefined;
    known = progress ?? known;
    isOver = known?.hasEnded === true;
  }
}

/** Reads page after page. */
function pageReader(
  durable: LogSource["durable"],
  { runId, node, target, after }: automationRuns.ReadRunLogsRequest,
): () => Promise<Piece[]> {
  if (node !== "") {
    let place = readStepCursor(after);
    return async () => {
      const pieces = await durable.logs({
        runId,
        node,
        target,
        limit: PIECES_AT_ONCE,
        ...(place ? { after: place } : {}),
      });
      place = pieces.at(-1) ?? place;
      return pieces.map((piece) => ({ ...piece, node, target, cursor: writeStepCursor(piece) }));
    };
  }
  let place = readRunCursor(after);
  return async () => {
    const pieces = await durable.runLogs({ runId, after: place, limit: PIECES_AT_ONCE });
    place = pieces.at(-1)?.position ?? place;
    return pieces.map((piece) => ({ ...piece, cursor: writeRunCursor(piece.position) }));
  };
}

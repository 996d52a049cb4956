import { timestampDate } from "@bufbuild/protobuf/wkt";
import { automationRuns } from "@hms/contracts";
import { enumWord } from "../output/human.ts";
import type { Output } from "../output/output.ts";
import { oneLine } from "../output/printable.ts";
import { asTree, treeLine } from "./node-rows.ts";
import { watchJson } from "./run-json.ts";
import type { RunPicture } from "./run-picture.ts";

/** Shows a run while it goes on. */
export interface RunView {
  show(answer: automationRuns.WatchRunResponse, picture: RunPicture): void;
  /** Leaves the last picture standing. */
  close(): void;
}

/** The view that fits where the output goes: JSON lines, a live tree on a terminal, or a line for each thing that happened. */
export function createRunView(output: Output): RunView {
  if (output.json) {
    return { show: (answer) => output.jsonLine(watchJson(answer)), close() {} };
  }
  return output.live ? liveView(output) : plainView(output);
}

function plainView(output: Output): RunView {
  return {
    show({ update }, picture) {
      if (update.case === "snapshot") {
        for (const row of asTree(picture.nodes)) output.note(treeLine(row, output.paint));
      }
      if (update.case === "event") output.note(eventLine(update.value));
    },
    close() {},
  };
}

function eventLine({ time, type, node, target, attempt, data }: automationRuns.RunEvent): string {
  const clock = time ? `${timestampDate(time).toISOString().slice(11, 19)} ` : "";
  const what = [node, ...(target === "" ? [] : [`(${target})`])].filter((word) => word !== "").join(" ");
  const again = attempt > 1 ? ` attempt ${attempt}` : "";
  const message = data?.kind.case === "structValue" ? data.kind.value.fields.message?.kind : undefined;
  const why = message?.case === "stringValue" ? `: ${message.value}` : "";
  return `${clock}${type} ${what}${again}${why}`.trimEnd();
}

const REDRAW_MS = 100;

/** The tree, drawn again in place at most ten times a second. */
function liveView(output: Output): RunView {
  let drawn = 0;
  let timer: NodeJS.Timeout | undefined;
  let latest: RunPicture | undefined;
  const draw = () => {
    timer = undefined;
    if (!latest) return;
    const rows = asTree(latest.nodes).map((row) => oneLine(treeLine(row, output.paint)));
    const most = Math.max(3, (process.stderr.rows || 24) - 2);
    const left = rows.length - most;
    const lines = left > 0 ? [...rows.slice(0, most), output.paint.dim(`… and ${left} more`)] : rows;
    lines.push(output.paint.dim(`run ${enumWord(automationRuns.RunState, latest.state)}`));
    const up = drawn > 0 ? `\u001b[${drawn}A` : "";
    output.talk(`${up}${lines.map((line) => `\r\u001b[2K${line}\n`).join("")}\u001b[J`);
    drawn = lines.length;
  };
  return {
    show(_, picture) {
      latest = picture;
      timer ??= setTimeout(draw, REDRAW_MS);
    },
    close() {
      clearTimeout(timer);
      draw();
    },
  };
}

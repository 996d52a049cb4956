import { timestampMs } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import { enumWord, humanDuration } from "./human.ts";
import type { Output } from "./output.ts";
import { createPainter, type Painter } from "./painter.ts";

type Event = deployment.RolloutEvent["event"];

/** Shows a rollout while it happens. */
export interface RolloutView {
  show(event: deployment.RolloutEvent): void;
  /** Takes the live line away. */
  close(): void;
}

const SPINNER = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

function describe(event: Event, paint: Painter): string | undefined {
  switch (event.case) {
    case "planned": {
      const { kind, service, environment, revision, warnings } = event.value;
      // A deploy gets its revision with its release; what ends, restarts or scales a service leads to none.
      const leads = kind === deployment.RolloutKind.DEPLOY || kind === deployment.RolloutKind.ROLLBACK;
      const to = revision === 0n || !leads ? "" : ` to revision ${revision}`;
      const what = `${enumWord(deployment.RolloutKind, kind)} ${service} (${environment})${to}`;
      return [paint.strong(what), ...warnings.map((warning) => `${paint.warn("!")} ${warning}`)].join("\n");
    }
    case "waiting":
      return `${paint.warn("…")} waiting for rollout ${event.value.holderRolloutId} (${enumWord(deployment.RolloutKind, event.value.holderKind)})`;
    case "stepFinished": {
      const mark = event.value.ok ? paint.good("✓") : paint.bad("✗");
      return `${mark} ${event.value.title} ${paint.dim(`(${humanDuration(Number(event.value.durationMs))})`)}`;
    }
    case "stepProgress":
      return paint.dim(`  ${event.value.message}`);
    case "stepOutput":
      return paint.dim(`  | ${event.value.text}`);
    default:
      return undefined;
  }
}

/** One line for each thing that happened. */
function plainView(output: Output): RolloutView {
  const paint = createPainter(false);
  return {
    show({ event }) {
      const line = describe(event, paint);
      if (line !== undefined) output.note(line);
    },
    close() {},
  };
}

/** Finished steps above, the running one below with a spinner and its age. */
function liveView(output: Output): RolloutView {
  let running: { title: string; detail: string; since: number } | undefined;
  let frame = 0;
  const clear = () => output.talk("\r\u001b[2K");
  const draw = () => {
    if (running === undefined) return;
    frame = (frame + 1) % SPINNER.length;
    const age = output.paint.dim(humanDuration(Math.max(0, Date.now() - running.since)));
    output.talk(`\r\u001b[2K${SPINNER[frame]} ${running.title}${running.detail} ${age}`);
  };
  const timer = setInterval(draw, 100);
  return {
    show({ event, time }) {
      if (event.case === "stepStarted") {
        running = { title: event.value.title, detail: "", since: time ? timestampMs(time) : Date.now() };
        return draw();
      }
      if (event.case === "stepProgress" && running) {
        running.detail = `: ${event.value.message}`;
        return draw();
      }
      if (event.case === "stepFinished") running = undefined;
      const line = describe(event, output.paint);
      if (line === undefined) return;
      clear();
      output.note(line);
      draw();
    },
    close() {
      clearInterval(timer);
      clear();
    },
  };
}

/** The view that fits where the output goes: JSON lines, a live terminal, or plain lines. */
export function createRolloutView(output: Output, toJson: (event: deployment.RolloutEvent) => unknown): RolloutView {
  if (output.json) return { show: (event) => output.jsonLine(toJson(event)), close() {} };
  return output.live ? liveView(output) : plainView(output);
}

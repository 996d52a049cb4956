import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import type { Output } from "./output.ts";
import { createPainter } from "./painter.ts";
import { createRolloutView } from "./rollout-view.ts";

type Event = NonNullable<MessageInitShape<typeof deployment.RolloutEventSchema>["event"]>;

const { RolloutKind, RolloutState } = deployment;
const events: Event[] = [
  { case: "planned", value: { kind: RolloutKind.DEPLOY, service: "pay-svc", environment: "default" } },
  { case: "stepStarted", value: { stepId: "1", title: "Starting 2 replicas", state: RolloutState.SCALING } },
  { case: "stepProgress", value: { stepId: "1", message: "1 of 2" } },
  { case: "stepFinished", value: { stepId: "1", title: "Started 2 replicas", durationMs: 1234n, ok: true } },
  { case: "stepFinished", value: { stepId: "2", title: "Waiting", durationMs: 50n, ok: false } },
];

/** Shows the events and answers with all that was written. */
function shown(how: { live?: boolean; json?: boolean }, list: Event[] = events): string {
  let text = "";
  const line = (words: unknown) => {
    text += `${words}\n`;
  };
  const output: Output = {
    json: how.json === true,
    live: how.live === true,
    paint: createPainter(false),
    result: line,
    note: line,
    document: line,
    jsonLine: (value) => line(JSON.stringify(value)),
    talk: (piece) => {
      text += piece;
    },
    error: line,
  };
  const view = createRolloutView(output, ({ event }) => event.case);
  for (const event of list) view.show(create(deployment.RolloutEventSchema, { event }));
  view.close();
  return text;
}

describe("a rollout", () => {
  test("is one line for each thing that happened, where the output is no terminal", () => {
    expect(shown({})).toBe("deploy pay-svc (default)\n  1 of 2\n✓ Started 2 replicas (1.2 s)\n✗ Waiting (50 ms)\n");
  });

  test("names the revision it goes to when that is known from the start", () => {
    const value = { kind: RolloutKind.ROLLBACK, service: "pay-svc", environment: "default", revision: 3n };
    expect(shown({}, [{ case: "planned", value }])).toBe("rollback pay-svc (default) to revision 3\n");
  });

  test("shows the running step live and leaves only what has happened", () => {
    const text = shown({ live: true });
    expect(text).toContain("Starting 2 replicas: 1 of 2");
    expect(screen(text)).toEqual(["deploy pay-svc (default)", "✓ Started 2 replicas (1.2 s)", "✗ Waiting (50 ms)", ""]);
  });

  test("is one JSON document a line under -o json, and nothing else", () => {
    expect(shown({ json: true }).trimEnd().split("\n")).toEqual(events.map(({ case: name }) => JSON.stringify(name)));
  });
});

/** What a terminal shows in the end: each line's words after the last time it was cleared. */
function screen(text: string): string[] {
  return text.split("\n").map((line) => line.split("\r\u001b[2K").at(-1) ?? "");
}

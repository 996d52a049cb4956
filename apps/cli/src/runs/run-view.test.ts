import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { automationRuns } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import type { Output } from "../output/output.ts";
import { createPainter } from "../output/painter.ts";
import { asTree, treeLine } from "./node-rows.ts";
import { RunPicture } from "./run-picture.ts";
import { createRunView } from "./run-view.ts";

const { NodeState, RunState, WatchRunResponseSchema } = automationRuns;
type Update = NonNullable<MessageInitShape<typeof WatchRunResponseSchema>["update"]>;

const nodes = [
  { node: "build", state: NodeState.READY, kind: "step" },
  { node: "patch", needs: ["ok"], state: NodeState.BLOCKED, kind: "step" },
  { node: "ok", needs: ["build"], state: NodeState.BLOCKED, kind: "approval" },
];
const event = (seq: number, type: string, node = "", more: object = {}): Update => ({
  case: "event",
  value: { seq: String(seq), type, node, ...more },
});
const said = (fields: Record<string, string>) => ({
  data: {
    kind: {
      case: "structValue" as const,
      value: {
        fields: Object.fromEntries(
          Object.entries(fields).map(([key, value]) => [key, { kind: { case: "stringValue" as const, value } }]),
        ),
      },
    },
  },
});
const updates: Update[] = [
  { case: "snapshot", value: { state: RunState.RUNNING, lastEvent: "1", nodes } },
  { case: "running", value: { nodes: [{ node: "build", attempt: 2 }] } },
  event(2, "node.retrying", "build", { attempt: 2, ...said({ message: "no luck" }) }),
  event(3, "node.succeeded", "build", { attempt: 3 }),
  event(4, "node.waiting", "ok"),
  event(5, "node.decided", "ok", said({ state: "succeeded" })),
  event(6, "target.failed", "patch", { target: "web-1", attempt: 1 }),
  event(7, "node.lost", "patch", said({ state: "needs_decision" })),
];

function follow(list: Update[], how: { json?: boolean; live?: boolean } = {}) {
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
  const view = createRunView(output);
  const picture = new RunPicture();
  for (const update of list) {
    const answer = create(WatchRunResponseSchema, { update });
    picture.take(answer);
    view.show(answer, picture);
  }
  view.close();
  return { text, picture };
}
const tree = (picture: RunPicture) => asTree(picture.nodes).map((row) => treeLine(row, createPainter(false)));

describe("the picture of a run", () => {
  test("is how it stood and what has happened since, what is needed above what needs it", () => {
    expect(tree(follow(updates.slice(0, 1)).picture)).toEqual([
      "· ready build",
      "  · blocked ok (approval)",
      "    · blocked patch",
    ]);
    const { picture } = follow(updates);
    expect(tree(picture)).toEqual([
      "✓ succeeded build attempt 3",
      "  ✓ succeeded ok (approval)",
      "    ? needs decision patch",
      "      ✗ failed web-1",
    ]);
    expect([picture.seq, picture.hasEnded]).toEqual(["7", false]);
    expect(follow([...updates, event(8, "run.failed")]).picture.hasEnded).toBe(true);
  });

  test("shows as running what runs, and no longer what has lost its worker", () => {
    const running: Update = { case: "running", value: { nodes: [{ node: "build", attempt: 1 }] } };
    const none: Update = { case: "running", value: { nodes: [] } };
    const first = updates.slice(0, 1);
    expect(tree(follow([...first, running]).picture)[0]).toBe("▶ running build");
    expect(tree(follow([...first, running, none]).picture)[0]).toBe("· ready build");
  });
});

describe("a run that is followed", () => {
  test("is a line for each thing that happens, where the output is no terminal", () => {
    expect(follow(updates).text.split("\n").slice(3)).toEqual([
      "node.retrying build attempt 2: no luck",
      "node.succeeded build attempt 3",
      "node.waiting ok",
      "node.decided ok",
      "target.failed patch (web-1)",
      "node.lost patch",
      "",
    ]);
  });

  test("is JSON line by line, if that was asked for", () => {
    const lines = follow(updates, { json: true }).text.trimEnd().split("\n");
    expect(lines.map((line) => Object.keys(JSON.parse(line))[0])).toEqual([
      "snapshot",
      "running",
      ...Array.from({ length: 6 }, () => "event"),
    ]);
  });

  test("is a tree on a terminal, in which names of others move nothing", () => {
    const nasty = [{ node: "a\u001b[2J\nb", state: NodeState.RUNNING, kind: "step" }];
    const { text } = follow([{ case: "snapshot", value: { state: RunState.RUNNING, nodes: nasty } }], { live: true });
    expect(text).toContain("▶ running a\\u001b[2J\\u000ab\n");
    expect(text).toContain("run running\n");
  });
});

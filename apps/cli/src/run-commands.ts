import type { ArgumentSpec, CommandSpec, OptionSpec } from "./command-spec.ts";

const run: ArgumentSpec = { name: "run", summary: "its id, as start and list print it", required: true };
const node: ArgumentSpec = { name: "node", summary: "a node that waits for it", required: true };
const target: OptionSpec = { flags: "--target <name>", summary: "one of the node's targets" };
const wait: OptionSpec = { flags: "--wait", summary: "follow it to its end; exit code 4 unless it succeeds" };
const timeout: OptionSpec = {
  flags: "--timeout <time>",
  summary: "follow it this long (90s, 10m); the run goes on",
  default: "1h",
};
const input: OptionSpec = {
  flags: "--input <name=value>",
  summary: "a text, or NAME:=JSON for anything else; may be repeated",
  repeats: true,
};
const key: OptionSpec = { flags: "--key <key>", summary: "start no second run if this key has one" };

const states = ["queued", "running", "succeeded", "failed", "cancelled", "timed_out"];

/** The commands about runs. */
export const runCommands: CommandSpec[] = [
  {
    name: "runs start",
    group: "Automate",
    summary: "start a run of the graph in a YAML file",
    args: [{ name: "file", summary: "nodes, and labels, inputs, timeout, … if wanted", required: true }],
    options: [
      input,
      { flags: "--label <name=value>", summary: "by which it is found again; may be repeated", repeats: true },
      key,
      wait,
      timeout,
    ],
    examples: ["hms-sys runs start patch.yml --input environment=staging --input batch:=5 --wait"],
    load: () => import("./commands/runs/start.ts"),
  },
  {
    name: "runs list",
    group: "Automate",
    summary: "list the runs of the environment, newest first",
    options: [
      { flags: "--state <state>", summary: `only ${states.join(", ")}`, completes: states },
      { flags: "--label <name=value>", summary: "only with this label; may be repeated", repeats: true },
      { flags: "--limit <n>", summary: "at most N", default: "50" },
    ],
    load: () => import("./commands/runs/list.ts"),
  },
  {
    name: "runs show",
    group: "Automate",
    summary: "show a run with its nodes, their outputs and errors",
    args: [run],
    load: () => import("./commands/runs/show.ts"),
  },
  {
    name: "runs watch",
    group: "Automate",
    summary: "follow a run to its end; exit code 4 unless it succeeds",
    args: [run],
    options: [timeout],
    load: () => import("./commands/runs/watch.ts"),
  },
  {
    name: "runs cancel",
    group: "Automate",
    summary: "tell a run to stop; what runs finally still runs",
    args: [run],
    load: async () => (await import("./commands/runs/order.ts")).ordering("cancel"),
  },
  {
    name: "runs pause",
    group: "Automate",
    summary: "let nothing of a run begin; what runs goes on",
    args: [run],
    load: async () => (await import("./commands/runs/order.ts")).ordering("pause"),
  },
  {
    name: "runs resume",
    group: "Automate",
    summary: "let a paused run go on",
    args: [run],
    load: async () => (await import("./commands/runs/order.ts")).ordering("resume"),
  },
  {
    name: "runs retry",
    group: "Automate",
    summary: "carry an ended run on by a new one, in which what has succeeded is done",
    args: [run],
    options: [
      { flags: "--from <node>", summary: "do this node and all after it again, even if they have succeeded" },
      { flags: "--failed-targets", summary: "of nodes with targets, only those that have not succeeded" },
      input,
      key,
      wait,
      timeout,
    ],
    load: () => import("./commands/runs/retry.ts"),
  },
  {
    name: "runs approve",
    group: "Automate",
    summary: "say yes to an approval, or that a step was done of which nobody knows",
    args: [run, node],
    options: [target, { flags: "--with <json>", summary: "the node's output" }],
    load: async () => (await import("./commands/runs/decide.ts")).deciding("succeed"),
  },
  {
    name: "runs reject",
    group: "Automate",
    summary: "say no to an approval, or that a step has failed of which nobody knows",
    args: [run, node],
    options: [target, { flags: "--reason <text>", summary: "why" }],
    load: async () => (await import("./commands/runs/decide.ts")).deciding("fail"),
  },
  {
    name: "runs redo",
    group: "Automate",
    summary: "do a step again of which nobody knows whether it was done, or the next batch of targets",
    args: [run, node],
    options: [target],
    load: async () => (await import("./commands/runs/decide.ts")).deciding("retry"),
  },
  {
    name: "runs logs",
    group: "Automate",
    summary: "show what a run's steps have said",
    args: [run],
    options: [
      { flags: "--node <name>", summary: "only of this node" },
      target,
      { flags: "-f, --follow", summary: "go on with what comes, until the run has ended" },
    ],
    load: () => import("./commands/runs/logs.ts"),
  },
];

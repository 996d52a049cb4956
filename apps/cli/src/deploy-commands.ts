import type { ArgumentSpec, CommandSpec, OptionSpec } from "./command-spec.ts";

/** A service's name as an argument. */
export const service: ArgumentSpec = {
  name: "service",
  summary: "name of a service",
  required: true,
  completes: "service",
};
/** How long a command watches. */
export const timeout: OptionSpec = {
  flags: "--timeout <time>",
  summary: "wait this long (90s, 10m); the rollout goes on",
  default: "15m",
};

const file: ArgumentSpec = { name: "file", summary: "a manifest, *.hms.yml", required: true, completes: "manifest" };
const files: ArgumentSpec = {
  ...file,
  summary: "manifests, *.hms.yml, or folders in which they lie; several are deployed in the order of their needs",
  variadic: true,
};
const preview: ArgumentSpec = {
  name: "name",
  summary: "a preview, which is an environment",
  required: true,
  completes: "environment",
};
const detach: OptionSpec = { flags: "--detach", summary: "return once the rollout has begun" };
const reason: OptionSpec = { flags: "--reason <text>", summary: "why, for the history" };
const overrideFreeze: OptionSpec = {
  flags: "--override-freeze",
  summary: "during a freeze, or outside of the manifest's windows; needs services:freeze",
};

const askOptions: OptionSpec[] = [
  { flags: "--rollout <id>", summary: "refuse if another rollout of the service runs" },
  reason,
];

/** Commands that change what runs. */
export const deployCommands: CommandSpec[] = [
  {
    name: "deploy",
    group: "Deploy",
    summary: "roll a manifest out and wait until it serves",
    args: [files],
    options: [
      {
        flags: "--on-failure <policy>",
        summary: "of several: halt, continue with those that do not need it, or rollback-all",
        default: "halt",
      },
      { flags: "--preview <name>", summary: "to an environment of this name that ends by itself" },
      { flags: "--expires <time>", summary: "when the preview ends: 8h, 7d; default 24h" },
      { flags: "--parallel", summary: "of several: those at once that do not need one another" },
      { flags: "--no-wait-lock", summary: "fail with exit code 6 if another rollout of the service runs" },
      { flags: "--strategy <name>", summary: "rolling, canary or blue-green, whatever the manifest says" },
      { flags: "--bg", summary: "the same as --strategy blue-green" },
      { flags: "--plan <id>", summary: "refuse if a plan of now would have another id than this one of `plan`" },
      { flags: "--tag <name>", summary: "name the revision: rollback --to finds it by that" },
      reason,
      overrideFreeze,
      detach,
      timeout,
    ],
    examples: ["hms-sys deploy examples/receipt/receipt.hms.yml", "hms-sys deploy services/ --on-failure rollback-all"],
    load: () => import("./commands/deploy.ts"),
  },
  {
    name: "plan",
    group: "Deploy",
    summary: "say what a deploy would change and whether it loses requests; exit code 10 if anything changes",
    args: [file],
    load: () => import("./commands/plan.ts"),
  },
  {
    name: "scale",
    group: "Deploy",
    summary: "set the number of replicas; auto leaves it to the load",
    args: [service, { name: "replicas", summary: "a whole number, at least 1, or auto", required: true }],
    options: [reason, detach, timeout],
    load: () => import("./commands/scale.ts"),
  },
  {
    name: "scale explain",
    group: "Deploy",
    summary: "say how a service follows its load, and why it has as many replicas as it has",
    args: [service],
    load: () => import("./commands/scale-explain.ts"),
  },
  {
    name: "restart",
    group: "Deploy",
    summary: "replace every replica by a new one, without losing a request",
    args: [service],
    options: [
      {
        flags: "--new-secrets",
        summary: "with the newest versions of its secrets, as a new revision; needs secrets:use",
      },
      reason,
      detach,
      timeout,
    ],
    load: () => import("./commands/restart.ts"),
  },
  {
    name: "rollback",
    group: "Deploy",
    summary: "return to the last revision that served well, or to the one named",
    args: [service],
    options: [
      { flags: "--to <revision>", summary: "a revision or tag from `history`", completes: "revision" },
      reason,
      detach,
      timeout,
    ],
    load: () => import("./commands/rollback.ts"),
  },
  {
    name: "retry",
    group: "Deploy",
    summary: "try the last deploy that did not succeed once more, from the same release",
    args: [service],
    options: [reason, overrideFreeze, detach, timeout],
    load: () => import("./commands/retry.ts"),
  },
  {
    name: "freeze",
    group: "Deploy",
    summary: "refuse deploys of a service, or of the whole environment, for a time; rollbacks stay possible",
    args: [{ ...service, required: false }],
    options: [
      { flags: "--for <time>", summary: "how long: 2h, 90m; at most a year", default: "1h" },
      { flags: "--reason <text>", summary: "why; whoever is refused is told" },
    ],
    load: () => import("./commands/freeze.ts"),
  },
  {
    name: "unfreeze",
    group: "Deploy",
    summary: "let deploys go on",
    args: [{ ...service, required: false }],
    load: () => import("./commands/unfreeze.ts"),
  },
  {
    name: "freezes",
    group: "Deploy",
    summary: "list where deploys are refused now, until when, and why",
    options: [{ flags: "--all-environments", summary: "not only the chosen environment" }],
    load: () => import("./commands/freezes.ts"),
  },
  {
    name: "previews",
    group: "Deploy",
    summary: "list environments that end by themselves",
    load: () => import("./commands/previews/list.ts"),
  },
  {
    name: "previews extend",
    group: "Deploy",
    summary: "move the end of a preview",
    args: [preview],
    options: [{ flags: "--expires <time>", summary: "from now on: 8h, 7d; at most 30d", default: "24h" }],
    load: () => import("./commands/previews/extend.ts"),
  },
  {
    name: "previews end",
    group: "Deploy",
    summary: "end a preview now: remove all of its services",
    args: [preview],
    load: () => import("./commands/previews/end.ts"),
  },
  {
    name: "promote",
    group: "Deploy",
    summary: "let a canary take its next step, or blue-green switch",
    args: [service],
    options: [{ flags: "--full", summary: "skip the steps that are left" }, ...askOptions],
    load: async () => (await import("./commands/ask-rollout.ts")).asking("promote"),
  },
  {
    name: "abort",
    group: "Deploy",
    summary: "end a rollout that runs and undo what it has done",
    args: [service],
    options: askOptions,
    load: async () => (await import("./commands/ask-rollout.ts")).asking("abort"),
  },
  {
    name: "pause",
    group: "Deploy",
    summary: "let a rollout finish what it has begun, and begin nothing new",
    args: [service],
    options: askOptions,
    load: async () => (await import("./commands/ask-rollout.ts")).asking("pause"),
  },
  {
    name: "resume",
    group: "Deploy",
    summary: "let a paused rollout go on",
    args: [service],
    options: askOptions,
    load: async () => (await import("./commands/ask-rollout.ts")).asking("resume"),
  },
  {
    name: "stop",
    group: "Deploy",
    summary: "end every replica; the service and its history stay",
    args: [service],
    options: [reason, detach, timeout],
    load: () => import("./commands/stop.ts"),
  },
  {
    name: "rm",
    group: "Deploy",
    summary: "end every replica and forget the service, its history and its logs",
    args: [service],
    options: [{ flags: "--yes", summary: "do not ask" }, detach, timeout],
    load: () => import("./commands/rm.ts"),
  },
  {
    name: "run",
    group: "Deploy",
    summary: "run one command in a service's surroundings: its program, environment and mesh",
    args: [service, { name: "command", summary: "program and arguments, after --", required: true, variadic: true }],
    passThrough: true,
    examples: ["hms-sys run payment-svc -- python3 -c 'print(1)'"],
    load: () => import("./commands/run.ts"),
  },
];

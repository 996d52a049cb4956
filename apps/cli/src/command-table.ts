import { partNames } from "@hms/config";
import { auditCommands } from "./audit-commands.ts";
import { authCommands } from "./auth-commands.ts";
import type { ArgumentSpec, CommandSpec, OptionSpec } from "./command-spec.ts";
import { ffiCommands } from "./ffi-commands.ts";
import { identityCommands } from "./identity-commands.ts";
import { programCommands } from "./program-commands.ts";
import { tlsCommands } from "./tls-commands.ts";

const service: ArgumentSpec = { name: "service", summary: "name of a service", required: true, completes: "service" };
const file: ArgumentSpec = { name: "file", summary: "a manifest, *.hms.yml", required: true, completes: "manifest" };
const detach: OptionSpec = { flags: "--detach", summary: "return once the rollout has begun" };
const timeout: OptionSpec = {
  flags: "--timeout <time>",
  summary: "wait this long (90s, 10m); the rollout goes on",
  default: "15m",
};

const askOptions: OptionSpec[] = [
  { flags: "--rollout <id>", summary: "refuse if another rollout of the service runs" },
  { flags: "--reason <text>", summary: "why, for the history" },
];

const serveOptions: OptionSpec[] = [
  { flags: "--only <parts>", summary: `which parts, of ${partNames.join(",")}` },
  {
    flags: "--listen <addresses>",
    summary: "where they are called, unix:PATH or tls://HOST:PORT; default their sockets",
  },
  { flags: "--at <places>", summary: "where others are called, PART=ADDRESS,…; default their sockets" },
  { flags: "--tls-cert <file>", summary: "for tls addresses: this part's certificate" },
  { flags: "--tls-key <file>", summary: "its key" },
  { flags: "--tls-ca <file>", summary: "the authority that has issued those of all parts" },
  { flags: "--part-key <file>", summary: "the key that all parts share; default the installation's own part.key" },
];

/** What the groups of commands are about. */
export const commandGroups: Readonly<Record<string, string>> = {
  audit: "see what has happened, and prove that nothing of it was changed",
  auth: "see who may do what, and why",
  ffi: "list and call services of any language, and see what they offer",
  users: "people who may come in",
  groups: "people who have roles together",
  "service-accounts": "programs that come in with a secret of their own",
  "signing-keys": "the keys that tokens are signed with",
  "sealing-key": "the key that secrets in the database are sealed by",
  clients: "applications that people sign in to by this installation",
  "identity-providers": "outside providers by which people may sign in",
  roles: "what people and programs may do",
  keys: "API keys of people and programs",
  sessions: "browsers and programs that are signed in",
  tls: "certificates of the gateway",
};

/** Every command, in the order of the help; the code of each is loaded only when it runs. */
export const commands: CommandSpec[] = [
  {
    name: "deploy",
    group: "Deploy",
    summary: "roll a manifest out and wait until it serves",
    args: [file],
    options: [
      { flags: "--no-wait-lock", summary: "fail with exit code 6 if another rollout of the service runs" },
      { flags: "--strategy <name>", summary: "rolling, canary or blue-green, whatever the manifest says" },
      { flags: "--bg", summary: "the same as --strategy blue-green" },
      detach,
      timeout,
    ],
    examples: ["hms-sys deploy examples/receipt/receipt.hms.yml", "hms-sys deploy payment.hms.yml -o json"],
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
    summary: "set the number of replicas",
    args: [service, { name: "replicas", summary: "a whole number, at least 1", required: true }],
    options: [detach, timeout],
    load: () => import("./commands/scale.ts"),
  },
  {
    name: "restart",
    group: "Deploy",
    summary: "replace every replica by a new one, without losing a request",
    args: [service],
    options: [detach, timeout],
    load: () => import("./commands/restart.ts"),
  },
  {
    name: "rollback",
    group: "Deploy",
    summary: "return to the last revision that served well, or to the one named",
    args: [service],
    options: [
      { flags: "--to <revision>", summary: "a revision from `history`", completes: "revision" },
      detach,
      timeout,
    ],
    load: () => import("./commands/rollback.ts"),
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
    options: [detach, timeout],
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
  {
    name: "services",
    group: "Watch",
    summary: "list services with health, replicas and addresses",
    options: [{ flags: "--all-environments", summary: "not only the chosen environment" }],
    load: () => import("./commands/services.ts"),
  },
  {
    name: "status",
    group: "Watch",
    summary: "show the platform, or one service with its replicas",
    args: [{ ...service, required: false }],
    options: [{ flags: "--wait", summary: "wait until it is healthy and no rollout runs" }, timeout],
    load: () => import("./commands/status.ts"),
  },
  {
    name: "logs",
    group: "Watch",
    summary: "show what a service wrote",
    args: [service],
    options: [
      { flags: "--tail <n>", summary: "the last N lines; 0 for all", default: "100" },
      { flags: "-f, --follow", summary: "go on with new lines" },
      { flags: "--since <time>", summary: "not older than 10m, 2h, or 2026-01-31T12:00:00Z" },
      { flags: "--grep <text>", summary: "only lines that contain this text" },
      { flags: "--replica <id>", summary: "only this replica", completes: "replica" },
    ],
    load: () => import("./commands/logs.ts"),
  },
  {
    name: "history",
    group: "Watch",
    summary: "list a service's rollouts, newest first",
    args: [service],
    options: [{ flags: "--limit <n>", summary: "at most N", default: "20" }],
    load: () => import("./commands/history.ts"),
  },
  {
    name: "watch",
    group: "Watch",
    summary: "follow a rollout from its beginning, also after it has ended",
    args: [
      { name: "rollout", summary: "its id, as deploy and history print it", required: true, completes: "rollout" },
    ],
    options: [timeout],
    load: () => import("./commands/watch.ts"),
  },
  ...ffiCommands,
  ...identityCommands,
  ...programCommands,
  ...authCommands,
  ...auditCommands,
  ...tlsCommands,
  {
    name: "up",
    group: "Platform",
    asPerson: false,
    summary: "start the platform and stay until Ctrl-C",
    options: [
      { flags: "--detach", summary: "return once it is ready" },
      { flags: "--port <port>", summary: "the gateway's port; default 3000, kept from then on" },
      {
        flags: "--take-over",
        summary: "if it runs already without its `up`, keep it from now on; for service managers",
      },
      {
        flags: "--apart <parts>",
        summary: `parts of the platform with a process each, of ${partNames.join(",")}; none: all in one; kept from then on`,
      },
      {
        flags: "--listen <address>",
        summary: "answer other machines too, at tls://HOST:PORT; none: only this one; kept from then on",
      },
      {
        flags: "--http-listen <addresses>",
        summary: "the gateway listens there too, 0.0.0.0:80,[::]:80; none: on loopback only; kept from then on",
      },
      {
        flags: "--https-listen <addresses>",
        summary: "the same with TLS, 0.0.0.0:443; it takes certificates (hms-sys tls …)",
      },
      {
        flags: "--routes-default-auth <auth>",
        summary: "auth of routes whose manifest does not say it: public or required; kept from then on",
      },
      { flags: "--deploy <files>", summary: "deploy these manifests (comma-separated) unless their services exist" },
    ],
    load: () => import("./commands/up.ts"),
  },
  {
    name: "serve",
    group: "Platform",
    offline: true,
    summary: "run some parts of the platform in this process; `up --apart` does it by itself",
    options: serveOptions,
    examples: [
      "hms-sys serve --only deployment",
      "hms-sys serve --only registry --listen tls://10.0.0.2:7443 --tls-cert c.pem --tls-key k.pem --tls-ca ca.pem",
    ],
    load: () => import("./commands/serve.ts"),
  },
  {
    name: "down",
    group: "Platform",
    asPerson: false,
    summary: "stop every replica and the platform; all data stays",
    load: () => import("./commands/down.ts"),
  },
  {
    name: "doctor",
    group: "Platform",
    asPerson: false,
    summary: "check machine and platform, with a remedy for what is wrong",
    load: () => import("./commands/doctor.ts"),
  },
  {
    name: "setup",
    group: "Platform",
    asPerson: false,
    offline: true,
    summary: "once, with sudo: let ordinary users serve mesh names on ports 53 and 80",
    load: () => import("./commands/setup.ts"),
  },
  {
    name: "restart-component",
    group: "Platform",
    asPerson: false,
    summary: "replace one of the platform's own processes; the data plane without losing a request",
    args: [
      {
        name: "component",
        summary: "server, dataplane, postgres, or a part that runs apart",
        required: true,
        completes: ["server", "dataplane", "postgres", ...partNames],
      },
    ],
    load: () => import("./commands/restart-component.ts"),
  },
  {
    name: "explain",
    group: "Learn",
    offline: true,
    summary: "explain the manifest or one of its keys",
    args: [
      { name: "topic", summary: "manifest, or a key such as health.http", required: true, completes: "manifest-key" },
    ],
    examples: ["hms-sys explain manifest", "hms-sys explain manifest.health.http"],
    load: () => import("./commands/explain.ts"),
  },
  {
    name: "completion",
    group: "Learn",
    offline: true,
    summary: "print the completion script of a shell",
    args: [{ name: "shell", summary: "bash, zsh or fish", required: true, completes: ["bash", "zsh", "fish"] }],
    examples: [
      "source <(hms-sys completion bash)",
      "hms-sys completion fish > ~/.config/fish/completions/hms-sys.fish",
    ],
    load: () => import("./commands/completion.ts"),
  },
];

import { partNames } from "@hms/config";
import { auditCommands } from "./audit-commands.ts";
import { authCommands } from "./auth-commands.ts";
import type { CommandSpec, OptionSpec } from "./command-spec.ts";
import { deployCommands, service, timeout } from "./deploy-commands.ts";
import { ffiCommands } from "./ffi-commands.ts";
import { identityCommands } from "./identity-commands.ts";
import { programCommands } from "./program-commands.ts";
import { runCommands } from "./run-commands.ts";
import { secretCommands } from "./secret-commands.ts";
import { tlsCommands } from "./tls-commands.ts";

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
  runs: "graphs of steps that outlive whoever started them",
  ffi: "list and call services of any language, and see what they offer",
  users: "people who may come in",
  groups: "people who have roles together",
  "service-accounts": "programs that come in with a secret of their own",
  "signing-keys": "the keys that tokens are signed with",
  "sealing-key": "the key that secrets in the database are sealed by",
  "part-key": "the key that parts on several machines share",
  "workload-key": "the key that the tokens of deployed services are signed with",
  "database-key": "the key that the passwords of the database's roles come from",
  clients: "applications that people sign in to by this installation",
  "identity-providers": "outside providers by which people may sign in",
  roles: "what people and programs may do",
  keys: "API keys of people and programs",
  sessions: "browsers and programs that are signed in",
  tls: "certificates of the gateway",
  secrets: "values that services get as environment variables and nobody else reads",
  previews: "environments that end by themselves",
  scale: "set the number of replicas, and see how it follows the load",
};

/** Every command, in the order of the help; the code of each is loaded only when it runs. */
export const commands: CommandSpec[] = [
  ...deployCommands,
  ...secretCommands,
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
    options: [
      { flags: "--limit <n>", summary: "at most N", default: "20" },
      { flags: "--diff", summary: "what each of them changed in the manifest" },
    ],
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
  ...runCommands,
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

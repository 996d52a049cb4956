import type { CommandSpec } from "./command-spec.ts";

/** The commands about what has happened. */
export const auditCommands: CommandSpec[] = [
  {
    name: "audit search",
    group: "Access",
    summary: "list who did what, newest first; * in a filter stands for any part",
    options: [
      { flags: "--actor <who>", summary: "user:anna, anna, service:default/*" },
      { flags: "--method <name>", summary: "Deploy, DeploymentService/Deploy, hms.sys.deployment.*" },
      { flags: "--code <code>", summary: "what happened: deployment.deploy, identity.sign-in.*" },
      { flags: "--outcome <word>", summary: "ok, denied or failed", completes: ["ok", "denied", "failed"] },
      { flags: "--resource <name>", summary: "what it was about: payment-svc" },
      { flags: "--type <noun>", summary: "what kind of thing that is: services, users, policies" },
      { flags: "--in <environment>", summary: "only of this environment; default all", completes: "environment" },
      { flags: "--policy <id>", summary: "what this policy has decided" },
      { flags: "--credential <name>", summary: "by what it came in: session, key:ID, grant:ID" },
      { flags: "--address <address>", summary: "from where, as the gateway saw it" },
      { flags: "--since <time>", summary: "not older than 10m, 2h, or 2026-01-31T12:00:00Z" },
      { flags: "--until <time>", summary: "older than that" },
      { flags: "--request <id>", summary: "only of this request" },
      { flags: "--trace <id>", summary: "only of this trace" },
      { flags: "--heartbeats", summary: "also what the log says of itself each minute" },
      { flags: "--limit <n>", summary: "at most N", default: "100" },
    ],
    examples: [
      "hms-sys audit search --outcome denied --since 1h",
      "hms-sys audit search --actor user:anna --method 'RoleService/*'",
    ],
    load: () => import("./commands/audit/search.ts"),
  },
  {
    name: "audit export",
    group: "Access",
    summary: "write the whole audit log with its checkpoints, to be kept and verified elsewhere",
    options: [{ flags: "--to <file>", summary: "a new file; default standard output" }],
    examples: ["hms-sys audit export --to audit.jsonl"],
    load: () => import("./commands/audit/export.ts"),
  },
  {
    name: "audit verify",
    group: "Access",
    asPerson: false,
    summary: "find out whether events were changed (exit code 7) or are missing (8)",
    options: [
      { flags: "--anchor <file>", summary: "checkpoints that were kept elsewhere; default those beside the log" },
      { flags: "--from <file>", summary: "an export instead of the running log" },
      { flags: "--root <file>", summary: "the first chain key, if you keep it elsewhere" },
      { flags: "--sealing-key <file>", summary: "the key that it is sealed with; default the installation's" },
      { flags: "--checkpoint-key <file>", summary: "the public key of the checkpoints; default the installation's" },
    ],
    examples: ["hms-sys audit verify", "hms-sys audit verify --from audit.jsonl --anchor /mnt/safe/checkpoints.jws"],
    load: () => import("./commands/audit/verify.ts"),
  },
];

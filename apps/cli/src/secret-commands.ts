import type { ArgumentSpec, CommandSpec } from "./command-spec.ts";

const name: ArgumentSpec = { name: "name", summary: "name of a secret", required: true, completes: "secret" };
const secrets = async () => import("./commands/secrets.ts");

/** The commands for secrets of services. */
export const secretCommands: CommandSpec[] = [
  {
    name: "secrets set",
    group: "Deploy",
    summary: "give a secret a new value: asked for, or from standard input or a file; services that run keep theirs",
    args: [name],
    options: [
      { flags: "--from-file <file>", summary: "the value, byte by byte, or - for standard input" },
      { flags: "--value <text>", summary: "refused: arguments are read by everybody on this machine", hidden: true },
    ],
    examples: ["hms-sys secrets set payment-key -e production", "pass payment-key | hms-sys secrets set payment-key"],
    load: async () => ({ run: (await secrets()).set }),
  },
  {
    name: "secrets list",
    group: "Deploy",
    summary: "list secrets with their versions and the services that use them, without values",
    options: [{ flags: "--all-environments", summary: "not only the chosen environment" }],
    load: async () => ({ run: (await secrets()).list }),
  },
  {
    name: "secrets reveal",
    group: "Deploy",
    summary: "print the value of a secret; needs secrets:reveal, and is in the audit log",
    args: [name],
    options: [{ flags: "--version <n>", summary: "an older version; default the newest" }],
    load: async () => ({ run: (await secrets()).reveal }),
  },
  {
    name: "secrets remove",
    group: "Deploy",
    summary: "destroy every version of a secret that no service which is meant to run uses",
    args: [name],
    options: [{ flags: "--yes", summary: "do not ask" }],
    load: async () => ({ run: (await secrets()).remove }),
  },
];

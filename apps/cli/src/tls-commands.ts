import type { CommandSpec } from "./command-spec.ts";

/** The commands about the gateway's certificates. */
export const tlsCommands: CommandSpec[] = [
  {
    name: "tls local",
    group: "Platform",
    summary: "give the gateway a certificate of this installation's own authority, for localhost and names of yours",
    options: [{ flags: "--names <names>", summary: "further host names and addresses, comma-separated" }],
    examples: ["hms-sys tls local", "hms-sys tls local --names staging.localhost,*.shop.test"],
    offline: true,
    asPerson: false,
    load: () => import("./commands/tls/local.ts"),
  },
];

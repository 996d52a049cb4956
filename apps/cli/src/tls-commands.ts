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
  {
    name: "tls acme",
    group: "Platform",
    summary: "have the gateway get its certificates from an authority by ACME (Let's Encrypt), and renewed in time",
    options: [
      { flags: "--names <names>", summary: "host names, comma-separated, each with a certificate of its own" },
      { flags: "--mail <address>", summary: "whom the authority writes to" },
      { flags: "--agree-terms", summary: "agree to the authority's terms of service" },
      { flags: "--directory <url>", summary: "another authority's ACME directory; default Let's Encrypt" },
      {
        flags: "--ca-file <file>",
        summary: "what the directory's own certificate is of, if it is an authority of yours",
      },
      { flags: "--off", summary: "get none any more; those that were got are no longer shown" },
    ],
    examples: [
      "hms-sys tls acme --names example.org,www.example.org --mail ops@example.org --agree-terms",
      "hms-sys tls acme",
    ],
    offline: true,
    asPerson: false,
    load: () => import("./commands/tls/acme.ts"),
  },
  {
    name: "tls status",
    group: "Platform",
    summary: "show the gateway's certificates, until when they are good, and what hinders new ones",
    offline: true,
    asPerson: false,
    load: () => import("./commands/tls/status.ts"),
  },
];

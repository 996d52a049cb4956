import type { ArgumentSpec, CommandSpec } from "./command-spec.ts";

const group: ArgumentSpec = { name: "group", summary: "its name", required: true };
const members: ArgumentSpec = { name: "members", summary: "logins or ids", required: true, variadic: true };
const account: ArgumentSpec = { name: "account", summary: "a login or id", required: true };

const groups = async () => import("./commands/identity/groups.ts");
const accounts = async () => import("./commands/identity/service-accounts.ts");
const platformKeys = async () => import("./commands/identity/platform-keys.ts");
const sealingKey = async () => import("./commands/identity/sealing-key.ts");
const signingKeys = async () => import("./commands/identity/signing-keys.ts");
const clients = async () => import("./commands/identity/clients.ts");
const providers = async () => import("./commands/identity/identity-providers.ts");

/** The commands for groups, for programs and applications, and for whom the platform trusts about people. */
export const programCommands: CommandSpec[] = [
  {
    name: "groups list",
    group: "Access",
    summary: "list groups with their members and roles",
    load: async () => ({ run: (await groups()).list }),
  },
  {
    name: "groups put",
    group: "Access",
    summary: "add a group, or change its description",
    args: [{ ...group, summary: "lower-case letters, digits and hyphens" }],
    options: [{ flags: "--description <text>", summary: "what it is for" }],
    load: async () => ({ run: (await groups()).put }),
  },
  {
    name: "groups delete",
    group: "Access",
    summary: "remove a group; its members lose its roles",
    args: [group],
    load: async () => ({ run: (await groups()).remove }),
  },
  {
    name: "groups add",
    group: "Access",
    summary: "add members to a group",
    args: [group, members],
    load: async () => ({ run: (await groups()).add }),
  },
  {
    name: "groups remove",
    group: "Access",
    summary: "take members out of a group",
    args: [group, members],
    load: async () => ({ run: (await groups()).take }),
  },
  {
    name: "service-accounts list",
    group: "Access",
    summary: "list accounts of programs",
    load: async () => ({ run: (await accounts()).list }),
  },
  {
    name: "service-accounts create",
    group: "Access",
    summary: "add an account of a program and show its secret, this one time",
    args: [{ ...account, summary: "lower-case letters, digits, dots, underscores and hyphens" }],
    options: [
      { flags: "--roles <names>", summary: "comma-separated; default none" },
      { flags: "--name <name>", summary: "what it is called" },
    ],
    load: async () => ({ run: (await accounts()).create }),
  },
  {
    name: "service-accounts rotate",
    group: "Access",
    summary: "give a program's account a new secret and show it, this one time",
    args: [account],
    load: async () => ({ run: (await accounts()).rotate }),
  },
  {
    name: "service-accounts deactivate",
    group: "Access",
    summary: "end every key and token of a program's account within a second",
    args: [account],
    load: async () => ({ run: (await accounts()).deactivate }),
  },
  {
    name: "service-accounts activate",
    group: "Access",
    summary: "let a program's account in again",
    args: [account],
    load: async () => ({ run: (await accounts()).activate }),
  },
  {
    name: "signing-keys list",
    group: "Access",
    summary: "list the keys that sign tokens",
    load: async () => ({ run: (await signingKeys()).list }),
  },
  {
    name: "signing-keys rotate",
    group: "Access",
    summary: "sign with the next key from now on; tokens signed before stay good",
    load: async () => ({ run: (await signingKeys()).rotate }),
  },
  {
    name: "sealing-key replace",
    group: "Access",
    summary: "make a new key for secrets in the database, and seal all of them anew",
    load: async () => ({ run: (await sealingKey()).replace }),
  },
  {
    name: "sealing-key forget",
    group: "Access",
    summary: "forget the keys before the present one, an hour later or more",
    load: async () => ({ run: (await sealingKey()).forget }),
  },
  {
    name: "part-key show",
    group: "Access",
    summary: "show the key that all parts share, for a part on another machine",
    load: () => import("./commands/part-key.ts"),
  },
  {
    name: "workload-key replace",
    group: "Access",
    summary: "make a new key for the tokens of deployed services; those by the old one stay good",
    load: async () => ({ run: (await platformKeys()).replaceWorkloadKey }),
  },
  {
    name: "workload-key forget",
    group: "Access",
    summary: "refuse tokens by the old key, once nobody has used one for ten minutes",
    options: [{ flags: "--force", summary: "whoever uses them" }],
    load: async () => ({ run: (await platformKeys()).forgetWorkloadKey }),
  },
  {
    name: "database-key replace",
    group: "Access",
    summary: "make new passwords for the services' roles in the database",
    load: async () => ({ run: (await platformKeys()).replaceDatabaseKey }),
  },
  {
    name: "clients list",
    group: "Access",
    summary: "list applications that sign people in by this installation",
    load: async () => ({ run: (await clients()).list }),
  },
  {
    name: "clients create",
    group: "Access",
    summary: "register an application and show its secret, this one time",
    args: [{ name: "name", summary: "what people are asked with", required: true }],
    options: [
      {
        flags: "--redirect <addresses>",
        summary: "where answers may go, comma-separated: https, or http on this machine",
      },
      { flags: "--scopes <permissions>", summary: "what it may ask people for beside who they are; default: nothing" },
      { flags: "--public", summary: "it runs where it cannot keep a secret: in a browser, on a phone" },
    ],
    examples: ["hms-sys clients create Wiki --redirect https://wiki.example.org/callback"],
    load: async () => ({ run: (await clients()).create }),
  },
  {
    name: "clients delete",
    group: "Access",
    summary: "remove an application; what people allowed it ends within a second",
    args: [{ name: "client", summary: "its client id", required: true }],
    load: async () => ({ run: (await clients()).remove }),
  },
  {
    name: "identity-providers list",
    group: "Access",
    summary: "list outside providers by which people can come in",
    load: async () => ({ run: (await providers()).list }),
  },
  {
    name: "identity-providers put",
    group: "Access",
    summary: "let people come in by a provider of OpenID Connect, or change it",
    args: [{ name: "provider", summary: "lower-case letters, digits and hyphens", required: true }],
    options: [
      { flags: "--issuer <address>", summary: "its issuer, to the letter" },
      { flags: "--client-id <id>", summary: "what this installation is called there" },
      { flags: "--secret-file <file>", summary: "a file with the client secret, or - for standard input" },
      { flags: "--name <name>", summary: "what people see" },
      {
        flags: "--sign-up <domains>",
        summary: "who gets an account at the first sign-in: domains of verified mail addresses, or '*'",
      },
      {
        flags: "--sign-up-roles <roles>",
        summary: "what such accounts begin with; default viewer, or none with groups",
      },
      { flags: "--sign-up-groups <groups>", summary: "groups that they join" },
    ],
    examples: [
      "hms-sys identity-providers put work --issuer https://login.example.org --client-id hms --sign-up example.org --sign-up-groups crew",
      "hms-sys identity-providers put work --issuer https://login.example.org --client-id hms --secret-file -",
    ],
    load: async () => ({ run: (await providers()).put }),
  },
  {
    name: "identity-providers delete",
    group: "Access",
    summary: "remove an outside provider",
    args: [{ name: "provider", summary: "its name", required: true }],
    load: async () => ({ run: (await providers()).remove }),
  },
];

import type { ArgumentSpec, CommandSpec } from "./command-spec.ts";

const group: ArgumentSpec = { name: "group", summary: "its name", required: true };
const members: ArgumentSpec = { name: "members", summary: "logins or ids", required: true, variadic: true };
const account: ArgumentSpec = { name: "account", summary: "a login or id", required: true };

const groups = async () => import("./commands/identity/groups.ts");
const accounts = async () => import("./commands/identity/service-accounts.ts");
const signingKeys = async () => import("./commands/identity/signing-keys.ts");

/** The commands for groups, for accounts of programs, and for the keys that sign what these are shown. */
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
];

import type { ArgumentSpec, CommandSpec, OptionSpec } from "./command-spec.ts";

const login: ArgumentSpec = { name: "user", summary: "a login or id", required: true };
const ofUser: OptionSpec = { flags: "--user <user>", summary: "somebody else's, by login or id; default your own" };
const name: OptionSpec = { flags: "--name <name>", summary: "what they are called" };
const email: OptionSpec = { flags: "--email <address>", summary: "their mail address" };
const print: OptionSpec = { flags: "--print", summary: "show the link although mail is set up" };
const holder: ArgumentSpec = { name: "holder", summary: "a login, an id, or group:NAME", required: true };
const roles: ArgumentSpec = { name: "roles", summary: "names of roles", required: true, variadic: true };

const users = async () => import("./commands/identity/users.ts");
const roleCommands = async () => import("./commands/identity/roles.ts");
const keys = async () => import("./commands/identity/keys.ts");
const sessions = async () => import("./commands/identity/sessions.ts");

/** The commands for people, and for what lets them in. */
export const identityCommands: CommandSpec[] = [
  {
    name: "login",
    group: "Access",
    asPerson: false,
    summary: "sign in with a browser; later commands act as you",
    load: () => import("./commands/identity/login.ts"),
  },
  {
    name: "logout",
    group: "Access",
    asPerson: false,
    summary: "end the login of the command line",
    load: () => import("./commands/identity/logout.ts"),
  },
  {
    name: "whoami",
    group: "Access",
    summary: "say who you are to the platform, and what you may do",
    load: () => import("./commands/identity/whoami.ts"),
  },
  {
    name: "users list",
    group: "Access",
    summary: "list people with their roles",
    args: [{ name: "query", summary: "a part of the login, name or mail address" }],
    load: async () => ({ run: (await users()).list }),
  },
  {
    name: "users show",
    group: "Access",
    summary: "show one person",
    args: [login],
    load: async () => ({ run: (await users()).show }),
  },
  {
    name: "users create",
    group: "Access",
    summary: "add a person, and mail or show the link by which they choose a password",
    args: [{ ...login, name: "login", summary: "what they sign in with" }],
    options: [{ flags: "--roles <names>", summary: "comma-separated; default viewer" }, name, email, print],
    examples: ["hms-sys users create anna --roles operator,developer --email anna@example.org"],
    load: async () => ({ run: (await users()).create }),
  },
  {
    name: "users create-admin",
    group: "Access",
    summary: "add a person who may do everything, and mail or show the link by which they choose a password",
    args: [{ ...login, name: "login", summary: "what they sign in with" }],
    options: [name, email, print],
    load: async () => ({ run: (await users()).createAdmin }),
  },
  {
    name: "users update",
    group: "Access",
    summary: "change a person's name or mail address",
    args: [login],
    options: [name, email],
    load: async () => ({ run: (await users()).update }),
  },
  {
    name: "users deactivate",
    group: "Access",
    summary: "end every session, key and token of a person within a second",
    args: [login],
    load: async () => ({ run: (await users()).deactivate }),
  },
  {
    name: "users activate",
    group: "Access",
    summary: "let a deactivated person in again",
    args: [login],
    load: async () => ({ run: (await users()).activate }),
  },
  {
    name: "users invite",
    group: "Access",
    summary: "mail or show a new link by which a person chooses the first password",
    args: [login],
    options: [print],
    load: async () => ({ run: (await users()).invite }),
  },
  {
    name: "users reset",
    group: "Access",
    summary: "mail or show a link by which a person chooses a new password",
    args: [login],
    options: [print],
    load: async () => ({ run: (await users()).reset }),
  },
  {
    name: "users password",
    group: "Access",
    summary: "change your own password; everything else that is signed in as you ends",
    examples: ["hms-sys users password", 'printf \'%s\\n%s\\n\' "$OLD" "$NEW" | hms-sys users password'],
    load: async () => ({ run: (await import("./commands/identity/password.ts")).change }),
  },
  {
    name: "users reset-factors",
    group: "Access",
    summary: "take second factors and password of a person away, who has lost them; then: hms-sys users reset",
    args: [login],
    load: async () => ({ run: (await users()).resetFactors }),
  },
  {
    name: "roles list",
    group: "Access",
    summary: "list roles with what they permit",
    load: async () => ({ run: (await roleCommands()).list }),
  },
  {
    name: "roles put",
    group: "Access",
    summary: "add a role, or replace what it permits",
    args: [
      { name: "role", summary: "lower-case letters, digits and hyphens", required: true },
      { name: "permissions", summary: "resource:verb, resource:* or *", required: true, variadic: true },
    ],
    options: [{ flags: "--description <text>", summary: "what it is for" }],
    examples: ["hms-sys roles put on-call services:read services:logs services:scale"],
    load: async () => ({ run: (await roleCommands()).put }),
  },
  {
    name: "roles delete",
    group: "Access",
    summary: "remove a role from everybody",
    args: [{ name: "role", summary: "its name", required: true }],
    load: async () => ({ run: (await roleCommands()).remove }),
  },
  {
    name: "roles assign",
    group: "Access",
    summary: "give roles to a person, a service account or a group",
    args: [holder, roles],
    load: async () => ({ run: (await roleCommands()).assign }),
  },
  {
    name: "roles unassign",
    group: "Access",
    summary: "take roles from a person, a service account or a group",
    args: [holder, roles],
    load: async () => ({ run: (await roleCommands()).unassign }),
  },
  {
    name: "keys create",
    group: "Access",
    summary: "make an API key and show it, this one time",
    args: [{ name: "name", summary: "what it is for", required: true }],
    options: [
      ofUser,
      { flags: "--scopes <permissions>", summary: "comma-separated permissions to limit it to; default all of yours" },
      { flags: "--for <time>", summary: "how long it is good: 12h, 30d; default 90d" },
    ],
    load: async () => ({ run: (await keys()).create }),
  },
  {
    name: "keys list",
    group: "Access",
    summary: "list API keys with their last use",
    options: [ofUser],
    load: async () => ({ run: (await keys()).list }),
  },
  {
    name: "keys revoke",
    group: "Access",
    summary: "end an API key within a second",
    args: [{ name: "key", summary: "its id", required: true }],
    load: async () => ({ run: (await keys()).revoke }),
  },
  {
    name: "sessions list",
    group: "Access",
    summary: "list browsers and programs that are signed in",
    options: [ofUser],
    load: async () => ({ run: (await sessions()).list }),
  },
  {
    name: "sessions revoke",
    group: "Access",
    summary: "end one of them within a second",
    args: [{ name: "session", summary: "its id", required: true }],
    load: async () => ({ run: (await sessions()).revoke }),
  },
  {
    name: "sessions narrow",
    group: "Access",
    summary: "take single scopes away from a program that is signed in",
    args: [
      { name: "session", summary: "its id", required: true },
      { name: "scopes", summary: "comma-separated, as sessions list --json shows them", required: true },
    ],
    load: async () => ({ run: (await sessions()).narrow }),
  },
  {
    name: "sessions revoke-all",
    group: "Access",
    summary: "end all of them within a second",
    options: [ofUser],
    load: async () => ({ run: (await sessions()).revokeAll }),
  },
];

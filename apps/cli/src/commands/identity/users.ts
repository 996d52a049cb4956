import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { identityUsers } from "@hms/contracts";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { identityClient } from "../../identity-client.ts";
import { enumWord, humanAge } from "../../output/human.ts";
import { presentList, presentOne } from "../../output/present.ts";
import { commaSeparated } from "./option-lists.ts";

const { UserService, UserSchema, AccountState } = identityUsers;
const clientOf = ({ session }: Invocation) => identityClient(session(), UserService);

function present({ output }: Invocation, user: identityUsers.User | undefined): number {
  if (user === undefined) return ExitCode.ERROR;
  const { login, displayName, email, roles, groups, state } = user;
  const lines = [
    `${login}${displayName === "" ? "" : ` (${displayName})`}, ${enumWord(AccountState, state).replace("account state ", "")}`,
    `id: ${user.userId}`,
    ...(email === "" ? [] : [`mail: ${email}${user.emailVerified ? "" : " (not confirmed)"}`]),
    `roles: ${roles.join(", ") || "none"}`,
    ...(groups.length === 0 ? [] : [`groups: ${groups.join(", ")}`]),
    `second factor: ${user.secondFactors.join(", ") || "none"}`,
    `last signed in: ${humanAge(user.lastSignInAt)}`,
  ];
  presentOne(output, UserSchema, { message: user, lines });
  return ExitCode.OK;
}

/** Lists people. */
export async function list(invocation: Invocation): Promise<number> {
  const { args, output, signal } = invocation;
  const users: identityUsers.User[] = [];
  let pageToken = "";
  do {
    const page = await clientOf(invocation).listUsers({ query: args[0] ?? "", pageSize: 1000, pageToken }, { signal });
    users.push(...page.users);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  presentList(output, {
    schema: UserSchema,
    messages: users,
    head: ["LOGIN", "NAME", "STATE", "ROLES", "SIGNED IN", "ID"],
    row: ({ login, displayName, state, roles, lastSignInAt, userId }) => [
      login,
      displayName,
      enumWord(AccountState, state).replace("account state ", ""),
      roles.join(" "),
      humanAge(lastSignInAt),
      userId,
    ],
    none: "Nobody has an account yet. Make the first: hms-sys users create-admin LOGIN",
  });
  return ExitCode.OK;
}

/** Shows one person. */
export async function show(invocation: Invocation): Promise<number> {
  const { user } = await clientOf(invocation).getUser(
    { user: invocation.args[0] ?? "" },
    { signal: invocation.signal },
  );
  return present(invocation, user);
}

/** Adds a person, and shows the link by which they choose a password. */
export const create = (invocation: Invocation) => createWith(invocation, commaSeparated(invocation.options.roles));

/** Adds an admin, and shows the link by which they choose a password. */
export const createAdmin = (invocation: Invocation) => createWith(invocation, ["admin"]);

async function createWith(invocation: Invocation, roles: string[]): Promise<number> {
  const { args, options, output, signal } = invocation;
  const client = clientOf(invocation);
  const login = args[0] ?? "";
  const text = (name: string) => (typeof options[name] === "string" ? (options[name] as string) : "");
  await client.createUser({ login, roles, displayName: text("name"), email: text("email") }, { signal });
  const made = await client.createInvitation({ user: login, print: options.print === true }, { signal });
  return showLink(output, { login, ...made });
}

/** A link, for whom it is and until when it is good. */
interface PersonalLink {
  login: string;
  link: string;
  mailedTo: string;
  expiresAt?: Timestamp | undefined;
}

function showLink(output: Invocation["output"], { login, link, mailedTo, expiresAt }: PersonalLink): number {
  const until = expiresAt === undefined ? "" : timestampDate(expiresAt).toISOString();
  if (output.json) output.document({ login, link, mailedTo, expiresAt: until });
  else if (mailedTo !== "") output.result(`A link is on its way to ${mailedTo} (good once, until ${until})`);
  else output.result(`${login} chooses a password at ${link} (good once, until ${until})`);
  return ExitCode.OK;
}

const asked = ({ args, options }: Invocation) => ({ user: args[0] ?? "", print: options.print === true });

/** Shows a new invitation of a person, or mails it. */
export async function invite(invocation: Invocation): Promise<number> {
  const [login = ""] = invocation.args;
  const made = await clientOf(invocation).createInvitation(asked(invocation), { signal: invocation.signal });
  return showLink(invocation.output, { login, ...made });
}

/** Shows a link by which a person chooses a new password. */
export async function reset(invocation: Invocation): Promise<number> {
  const [login = ""] = invocation.args;
  const made = await clientOf(invocation).createResetLink(asked(invocation), { signal: invocation.signal });
  return showLink(invocation.output, { login, ...made });
}

/** Changes a person's name or mail address. */
export async function update(invocation: Invocation): Promise<number> {
  const { args, options, signal } = invocation;
  const given = { display_name: options.name, email: options.email };
  const paths = Object.entries(given).flatMap(([path, value]) => (typeof value === "string" ? [path] : []));
  const request = {
    user: args[0] ?? "",
    displayName: typeof options.name === "string" ? options.name : "",
    email: typeof options.email === "string" ? options.email : "",
    updateMask: { paths },
  };
  const { user } = await clientOf(invocation).updateUser(request, { signal });
  return present(invocation, user);
}

/** Takes a person's second factors away, who has lost them. */
export async function resetFactors(invocation: Invocation): Promise<number> {
  const [name = ""] = invocation.args;
  const { user } = await clientOf(invocation).resetSecondFactors({ user: name }, { signal: invocation.signal });
  return present(invocation, user);
}

/** Ends everything by which a person can come in. */
export async function deactivate(invocation: Invocation): Promise<number> {
  const { user } = await clientOf(invocation).deactivateUser(
    { user: invocation.args[0] ?? "" },
    { signal: invocation.signal },
  );
  return present(invocation, user);
}

/** Lets a person in again. */
export async function activate(invocation: Invocation): Promise<number> {
  const { user } = await clientOf(invocation).activateUser(
    { user: invocation.args[0] ?? "" },
    { signal: invocation.signal },
  );
  return present(invocation, user);
}

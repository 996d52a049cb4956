import { builtInRoles } from "@hms/authorization";
import { identityKeys, identityRoles, identitySessions, identityUsers } from "@hms/contracts";
import type { HmsError, Principal } from "@hms/kernel";
import { afterAll, beforeAll, expect, test } from "vitest";
import { codeOf, type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";

let scene: IdentityScene;
let running: IdentityProcess;
beforeAll(async () => {
  scene = await IdentityScene.open();
  running = await scene.start();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});

const usersAs = (who: Principal) => running.kernel.client(identityUsers.UserService, who);
const rolesAs = (who: Principal) => running.kernel.client(identityRoles.RoleService, who);
const groupsAs = (who: Principal) => running.kernel.client(identityRoles.GroupService, who);
const keysAs = (who: Principal) => running.kernel.client(identityKeys.KeyService, who);
const sessionsAs = (who: Principal) => running.kernel.client(identitySessions.SessionService, who);

let made = 0;
/** Somebody with these roles, as their key makes them known. */
async function somebody(...roles: string[]): Promise<{ login: string; secret: string; as: Principal }> {
  made += 1;
  const login = `p${made}`;
  await usersAs(operator).createUser({ login, roles });
  const { secret } = await keysAs(operator).createKey({ user: login, name: "test" });
  const as = await running.identity.tokens.principalOf(secret);
  return { login, secret, as: as as Principal };
}
const now = async (secret: string) => (await running.identity.tokens.principalOf(secret)) as Principal;

test("the roles of a new installation are those that hold before its identity service is open", () => {
  const inOrder = (roles: typeof builtInRoles) =>
    Object.fromEntries(roles.map(({ name, permissions }) => [name, [...permissions].sort()]));
  expect(inOrder(running.identity.roles.definitions)).toEqual(inOrder(builtInRoles));
});

test("a new person looks on; several roles add up, and hold at once", async () => {
  const { login, secret, as } = await somebody();
  expect(as).toMatchObject({ kind: "user", roles: ["viewer"] });
  expect(await codeOf(usersAs(as).listUsers({}))).toBe("PERMISSION_DENIED");
  await rolesAs(operator).assignRoles({ holder: login, roles: ["manager", "operator"] });
  const after = await now(secret);
  expect(after.roles).toEqual(["manager", "operator", "viewer"]);
  expect(await codeOf(usersAs(after).listUsers({}))).toBeUndefined();
  await rolesAs(operator).unassignRoles({ holder: login, roles: ["manager"] });
  expect(await codeOf(usersAs(await now(secret)).listUsers({}))).toBe("PERMISSION_DENIED");
});

test("a new installation has the five built-in roles, as they are documented", async () => {
  const { roles } = await rolesAs(operator).listRoles({});
  const built = roles.filter(({ builtIn }) => builtIn);
  const sorted = (all: readonly { name: string; permissions: readonly string[] }[]) =>
    Object.fromEntries(all.map(({ name, permissions }) => [name, [...permissions].sort()]));
  expect(sorted(built)).toEqual(sorted(builtInRoles));
});

test("what a role permits is data: changed, it holds for everybody at once", async () => {
  await rolesAs(operator).putRole({ name: "reader", permissions: ["users:read"] });
  const { as } = await somebody("reader");
  expect(await codeOf(usersAs(as).listUsers({}))).toBeUndefined();
  await rolesAs(operator).putRole({ name: "reader", permissions: ["users:*"] });
  expect(await codeOf(usersAs(as).createUser({ login: "made-by-reader", roles: ["reader"] }))).toBeUndefined();
  await rolesAs(operator).deleteRole({ name: "reader" });
  expect(await codeOf(usersAs(as).listUsers({}))).toBe("PERMISSION_DENIED");
});

test("nobody gets hold of more than they have: not by a role, a group, a link, a key, or a person they make", async () => {
  await rolesAs(operator).putRole({ name: "helpdesk", permissions: ["users:*", "roles:*", "groups:*", "keys:*"] });
  const { as, login } = await somebody("helpdesk");
  const admin = await somebody("admin");
  await groupsAs(operator).putGroup({ name: "owners" });
  await rolesAs(operator).assignRoles({ holder: "group:owners", roles: ["admin"] });
  // Policies may make it worth anything.
  await rolesAs(operator).putRole({ name: "on-call", permissions: [] });
  const attempts: Record<string, () => Promise<unknown>> = {
    "takes a role without permissions": () => rolesAs(as).assignRoles({ holder: login, roles: ["on-call"] }),
    "takes a role": () => rolesAs(as).assignRoles({ holder: login, roles: ["admin"] }),
    "widens its role": () => rolesAs(as).putRole({ name: "helpdesk", permissions: ["*"] }),
    "makes a role": () => rolesAs(as).putRole({ name: "mine", permissions: ["services:deploy"] }),
    "joins a group": () => groupsAs(as).addGroupMembers({ name: "owners", members: [login] }),
    "makes an admin": () => usersAs(as).createUser({ login: "puppet", roles: ["admin"] }),
    "resets an admin": () => usersAs(as).createResetLink({ user: admin.login }),
    "invites an admin": () => usersAs(as).createInvitation({ user: admin.login }),
    "renames an admin's mail": () => usersAs(as).updateUser({ user: admin.login, email: "me@example.org" }),
    "closes an admin": () => usersAs(as).deactivateUser({ user: admin.login }),
    "makes an admin's key": () => keysAs(as).createKey({ user: admin.login, name: "x" }),
    "takes admin away": () => rolesAs(as).unassignRoles({ holder: admin.login, roles: ["admin"] }),
  };
  for (const [what, attempt] of Object.entries(attempts)) {
    expect(await codeOf(attempt()), what).toBe("PERMISSION_DENIED");
  }
  expect(await codeOf(rolesAs(as).assignRoles({ holder: login, roles: ["helpdesk"] }))).toBeUndefined();
});

test("one active admin always stays", async () => {
  const own = await IdentityScene.open();
  await using _ = own;
  const { kernel } = await own.start();
  const users = kernel.client(identityUsers.UserService, operator);
  const roles = kernel.client(identityRoles.RoleService, operator);
  for (const login of ["one", "two"]) await users.createUser({ login, roles: ["admin"] });
  const both = ["one", "two"].map((user) => codeOf(users.deactivateUser({ user })));
  expect((await Promise.all(both)).sort()).toEqual(["FAILED_PRECONDITION", undefined]);
  const left = (await users.listUsers({})).users.find(
    ({ state }) => state === identityUsers.AccountState.ACTIVE,
  )?.login;
  expect(await codeOf(roles.unassignRoles({ holder: left ?? "", roles: ["admin"] }))).toBe("FAILED_PRECONDITION");
  expect(await codeOf(roles.putRole({ name: "admin", permissions: ["users:read"] }))).toBe("FAILED_PRECONDITION");
});

test("an admin who has never chosen a password does not keep the installation from being locked out", async () => {
  const own = await IdentityScene.open();
  await using _ = own;
  const { kernel } = await own.start();
  const users = kernel.client(identityUsers.UserService, operator);
  for (const login of ["one", "two"]) await users.createUser({ login, roles: ["admin"] });
  const { user } = await users.getUser({ user: "one" });
  await own.database.db
    .insertInto("password")
    .values({ account_id: user?.userId ?? "", hash: "x" })
    .execute();
  expect(await codeOf(users.deactivateUser({ user: "one" }))).toBe("FAILED_PRECONDITION");
  expect(await codeOf(users.deactivateUser({ user: "two" }))).toBeUndefined();
});

test("permissions that nothing asks for are refused with what was meant, all together", async () => {
  const wrong = { permissions: ["service:read", "services:raed", "jobs:*", "jobbs:*", "*", "whatever:else"] };
  const refused = await rolesAs(operator)
    .putRole({ name: "typo", ...wrong })
    .catch((error: HmsError) => error);
  const told = (refused as HmsError).details.fieldViolations?.map(({ description }) => description);
  expect(told).toEqual([
    '"jobbs:*" is no permission. Did you mean "jobs:*"?',
    '"service:read" is no permission. Did you mean "services:read"?',
    '"services:raed" is no permission. Did you mean "services:read"?',
    '"whatever:else" is no permission. See them all: hms-sys roles list',
  ]);
  expect(await codeOf(keysAs(operator).createKey({ user: "x", name: "k", scopes: ["users:raed"] }))).toBe(
    "INVALID_ARGUMENT",
  );
});

test("a group's roles are its members', as long as they are members", async () => {
  const { login, secret } = await somebody();
  await groupsAs(operator).putGroup({ name: "crew", description: "who runs it" });
  await rolesAs(operator).assignRoles({ holder: "group:crew", roles: ["operator"] });
  await groupsAs(operator).addGroupMembers({ name: "crew", members: [login] });
  // Policies that speak of groups see it too.
  expect(await now(secret)).toMatchObject({ roles: ["operator", "viewer"], groups: ["crew"] });
  expect(await running.identity.named("user", login)).toMatchObject({ groups: ["crew"] });
  expect((await groupsAs(operator).listGroups({})).groups).toContainEqual(
    expect.objectContaining({ name: "crew", members: [login], roles: ["operator"] }),
  );
  await groupsAs(operator).removeGroupMembers({ name: "crew", members: [login] });
  expect((await now(secret)).roles).toEqual(["viewer"]);
  expect((await now(secret)).groups).toBeUndefined();
});

test("everybody sees and ends their own sessions and keys, and nobody else's", async () => {
  const [anna, ben] = [await somebody(), await somebody()];
  expect((await keysAs(anna.as).listKeys({})).keys).toHaveLength(1);
  expect(await codeOf(keysAs(anna.as).listKeys({ user: ben.login }))).toBe("PERMISSION_DENIED");
  expect(await codeOf(keysAs(anna.as).listKeys({ user: "nobody-there" }))).toBe("PERMISSION_DENIED");
  expect(await codeOf(sessionsAs(anna.as).listSessions({ user: ben.login }))).toBe("PERMISSION_DENIED");
  expect(await codeOf(sessionsAs(anna.as).revokeAllSessions({ user: ben.login }))).toBe("PERMISSION_DENIED");
  const [bens] = (await keysAs(ben.as).listKeys({})).keys;
  expect(await codeOf(keysAs(anna.as).revokeKey({ keyId: bens?.keyId ?? "" }))).toBe("NOT_FOUND");
  expect(await now(ben.secret)).toBeDefined();
  await keysAs(ben.as).revokeKey({ keyId: bens?.keyId ?? "" });
  expect(await now(ben.secret)).toBeUndefined();
});

test("a key may do what its scopes say and its account may, until it ends", async () => {
  const { as } = await somebody("manager");
  const { secret } = await keysAs(as).createKey({ name: "narrow", scopes: ["users:read", "roles:update"] });
  const narrow = await now(secret);
  expect(await codeOf(usersAs(narrow).listUsers({}))).toBeUndefined();
  const listed = (await keysAs(as).listKeys({})).keys.find(({ name }) => name === "narrow");
  expect(Number(listed?.lastUsedAt?.seconds) * 1000).toBeGreaterThan(Date.now() - 60_000);
  expect(await codeOf(rolesAs(narrow).putRole({ name: "x", permissions: [] }))).toBe("PERMISSION_DENIED");
  expect(await codeOf(keysAs(narrow).createKey({ name: "wider" }))).toBe("PERMISSION_DENIED");
  const short = await keysAs(as).createKey({
    name: "short",
    scopes: ["users:read"],
    lifetime: { seconds: 1n, nanos: 0 },
  });
  expect((await now(short.secret)).endsAtMs).toBeGreaterThan(Date.now());
  await expect.poll(() => running.identity.tokens.principalOf(short.secret), { timeout: 5000 }).toBeUndefined();
  for (const changed of [`${secret.slice(0, -1)}0`, secret.replace("hms_test", "hms_prod"), `${secret} `]) {
    if (changed !== secret) expect(await now(changed), changed).toBeUndefined();
  }
  const { rows } = { rows: await scene.database.db.selectFrom("api_key").selectAll().execute() };
  expect(JSON.stringify(rows)).not.toContain(secret);
});

test("people change their own name and preferences, and nothing else of themselves", async () => {
  const { as } = await somebody();
  const { user } = await usersAs(as).updateProfile({ displayName: "Anna", preferences: { theme: "dark" } });
  expect(user).toMatchObject({ displayName: "Anna", preferences: { theme: "dark" }, roles: ["viewer"] });
  for (const path of ["roles", "active", "account_id", "__proto__", "constructor", "toString"]) {
    const mask = { displayName: "x", updateMask: { paths: [path] } };
    expect([path, await codeOf(usersAs(as).updateProfile(mask))]).toEqual([path, "INVALID_ARGUMENT"]);
  }
  const large = { preferences: { text: "x".repeat(20_000) } };
  expect(await codeOf(usersAs(as).updateProfile(large))).toBe("INVALID_ARGUMENT");
});

test("people are listed page by page, and found by a part of their name", async () => {
  const users = usersAs(operator);
  for (const login of ["zoe-1", "zoe-2", "zoe-3"]) await users.createUser({ login, displayName: "100% Zoë_" });
  const first = await users.listUsers({ query: "zoe", pageSize: 2 });
  const second = await users.listUsers({ query: "zoe", pageSize: 2, pageToken: first.nextPageToken });
  expect([...first.users, ...second.users].map(({ login }) => login)).toEqual(["zoe-1", "zoe-2", "zoe-3"]);
  expect(second.nextPageToken).toBe("");
  expect((await users.listUsers({ query: "100%" })).users).toHaveLength(3);
  expect((await users.listUsers({ query: "1%0" })).users).toHaveLength(0);
  expect(await codeOf(users.createUser({ login: "zoe-1" }))).toBe("ALREADY_EXISTS");
  expect(await codeOf(users.createUser({ login: "zoe-9", roles: ["viewer", "nope"] }))).toBe("NOT_FOUND");
});

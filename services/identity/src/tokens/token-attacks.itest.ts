import { createHmac, createPublicKey } from "node:crypto";
import { identityKeys, identityUsers } from "@hms/contracts";
import { openSealingKey } from "@hms/secrets";
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type IdentityProcess, IdentityScene, operator } from "../testing/identity-scene.ts";

let scene: IdentityScene;
let running: IdentityProcess;
let key: { secret: Parameters<SignJWT["sign"]>[0]; kid: string; open: JWK };
let sub = "";

beforeAll(async () => {
  scene = await IdentityScene.open();
  running = await scene.start();
  const { user } = await running.kernel.client(identityUsers.UserService, operator).createUser({ login: "anna" });
  sub = user?.userId ?? "";
  // The real signing key, so that only what a test changes is wrong.
  await running.kernel.client(identityKeys.SigningKeyService, operator).listSigningKeys({});
  const row = await scene.database.db
    .selectFrom("signing_key")
    .selectAll()
    .where("state", "=", "current")
    .executeTakeFirstOrThrow();
  const sealed = openSealingKey(scene.keyFile).open(row.sealed, ["identity", "signing-key", row.kid]);
  const secret = await importJWK(JSON.parse(sealed.toString()) as JWK, "ES256");
  key = { secret: secret as never, kid: row.kid, open: row.public_jwk as JWK };
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
});

const seconds = () => Math.floor(Date.now() / 1000);
const claims = () => ({
  iss: "urn:hms:test",
  aud: "urn:hms:test",
  sub,
  client_id: sub,
  scope: "hms",
  iat: seconds(),
  exp: seconds() + 60,
});
const header = () => ({ alg: "ES256", typ: "at+jwt", kid: key.kid });
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const signed = (own: object = {}, head: object = {}) =>
  new SignJWT({ ...claims(), ...own } as never)
    .setProtectedHeader({ ...header(), ...head } as never)
    .sign(key.secret, { crit: { x: true } });
const forged = async (head: object, mac?: string) => {
  const text = `${encode({ typ: "at+jwt", ...head })}.${encode(claims())}`;
  const signature = mac === undefined ? "" : createHmac("sha256", mac).update(text).digest("base64url");
  return `${text}.${signature}`;
};
const who = (token: string) => running.identity.tokens.principalOf(token);

test("a token signed by the key that signs is good, so that what follows is refused for its own reason", async () => {
  expect(await who(await signed())).toMatchObject({ kind: "user", id: sub });
});

test.each(["none", "None", "nOnE", "HS256", "RS256", "ES384", ""])("the algorithm %j is refused", async (alg) => {
  for (const mac of [
    undefined,
    "",
    createPublicKey({ key: key.open as never, format: "jwk" })
      .export({ type: "spki", format: "pem" })
      .toString(),
    JSON.stringify(key.open),
  ]) {
    expect(await who(await forged({ alg, kid: key.kid }, mac))).toBeUndefined();
  }
});

test.each([
  ["another type", {}, { typ: "JWT" }],
  ["no type", {}, { typ: undefined }],
  ["a logout token's type", {}, { typ: "logout+jwt" }],
  ["an unknown key", {}, { kid: "../../etc/passwd" }],
  ["an empty key id", {}, { kid: "" }],
  ["a huge key id", {}, { kid: "k".repeat(10_000) }],
  ["an unknown critical extension", {}, { crit: ["x"], x: 1 }],
  ["another issuer", { iss: "http://evil.example/oidc" }, {}],
  ["the address as its issuer", { iss: "http://hms.localhost/oidc" }, {}],
  ["another audience", { aud: "http://evil.example/" }, {}],
  ["a longer audience", { aud: "urn:hms:test2" }, {}],
  ["no end", { exp: undefined }, {}],
  ["a past end", { exp: 1 }, {}],
  ["a negative end", { exp: -1 }, {}],
  ["an end in the wrong type", { exp: "9999999999" }, {}],
  ["a start in the future", { nbf: 9_999_999_999 }, {}],
  ["no subject", { sub: undefined }, {}],
  ["a subject that is nobody", { sub: "0192aaaa-0000-7000-8000-000000000000" }, {}],
  ["a grant that has ended", { gid: "gone" }, {}],
  ["somebody else's client", { client_id: "hms-cli" }, {}],
] as const)("a token with %s is refused", async (_, own, head) => {
  const token = await signed(own, head).catch(() => undefined);
  if (token !== undefined) expect(await who(token)).toBeUndefined();
});

test("keys that a token brings along are not used", async () => {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  const jwk = await exportJWK(publicKey);
  for (const head of [{ jwk }, { jku: "http://127.0.0.1:1/jwks" }, { x5u: "http://127.0.0.1:1/" }, { x5c: ["AA"] }]) {
    const token = await new SignJWT(claims()).setProtectedHeader({ ...header(), ...head } as never).sign(privateKey);
    expect(await who(token)).toBeUndefined();
  }
});

test("another text of the same token is another token, and refused", async () => {
  const token = await signed();
  const [a = "", b = "", c = ""] = token.split(".");
  for (const text of [
    `${token}=`,
    `${token} `,
    ` ${token}`,
    `${token}\n`,
    `${a}.${b}.`,
    `${a}..${c}`,
    `${token}.x`,
    `${a}=.${b}.${c}`,
    `${token}AA`,
  ]) {
    expect(await who(text), JSON.stringify(text)).toBeUndefined();
  }
  expect(await who(await signed({ scope: "services:read" }))).toMatchObject({ scopes: ["services:read"] });
});

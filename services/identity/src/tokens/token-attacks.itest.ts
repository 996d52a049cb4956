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

test("a signature of nothing, in another form or of another length is refused", async () => {
  const token = await signed();
  const [head = "", body = "", signature = ""] = token.split(".");
  const raw = Buffer.from(signature, "base64url");
  const order = Buffer.from("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "hex");
  const integer = (part: Buffer) => Buffer.concat([Buffer.of(2, 33, 0), part]);
  const der = Buffer.concat([Buffer.of(0x30, 70), integer(raw.subarray(0, 32)), integer(raw.subarray(32))]);
  for (const wrong of [
    Buffer.alloc(64),
    Buffer.concat([order, order]),
    Buffer.concat([Buffer.alloc(32), raw.subarray(32)]),
    Buffer.concat([raw.subarray(0, 32), Buffer.alloc(32)]),
    Buffer.concat([raw, Buffer.of(0)]),
    raw.subarray(0, 63),
    Buffer.alloc(0),
    der,
  ]) {
    expect(await who(`${head}.${body}.${wrong.toString("base64url")}`)).toBeUndefined();
  }
});

test("claims and header fields that are said twice count as they are said last, for whoever reads them", async () => {
  const twice = async (text: string) => {
    const parts = `${encode(header())}.${Buffer.from(text).toString("base64url")}`;
    const signature = await crypto.subtle.sign(
      { name: "ECDSA", hash: "SHA-256" },
      key.secret as never,
      Buffer.from(parts),
    );
    return `${parts}.${Buffer.from(signature).toString("base64url")}`;
  };
  const right = JSON.stringify(claims()).slice(1, -1);
  expect(
    await who(await twice(`{"exp":1,"gid":"gone",${right},"gid":null}`.replace(',"gid":null', ""))),
  ).toBeUndefined();
  expect(await who(await twice(`{${right},"exp":1}`))).toBeUndefined();
  expect(await who(await twice(`{${right},"aud":"urn:hms:other"}`))).toBeUndefined();
  expect(await who(await twice(`{"exp":1,${right}}`))).toMatchObject({ id: sub });
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
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const last = letters.indexOf(c.at(-1) ?? "");
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
    // The last letter has four bits that say nothing.
    ...[1, 2, 15].map((bits) => `${a}.${b}.${c.slice(0, -1)}${letters[last ^ bits]}`),
    `{"protected":"${a}","payload":"${b}","signature":"${c}"}`,
  ]) {
    expect(await who(text), JSON.stringify(text)).toBeUndefined();
  }
  expect(await who(await signed({ scope: "services:read" }))).toMatchObject({ scopes: ["services:read"] });
});

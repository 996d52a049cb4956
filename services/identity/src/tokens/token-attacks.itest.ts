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
/** Whatever it says, signed as it stands: a library would refuse to make much of it. */
async function signedText(head: object, payload: string, input = `${encode(head)}.${payload}`): Promise<string> {
  const terms = { name: "ECDSA", hash: "SHA-256" };
  const signature = await crypto.subtle.sign(terms, key.secret as never, Buffer.from(input));
  return `${encode(head)}.${payload}.${Buffer.from(signature).toString("base64url")}`;
}
const signed = (own: object = {}, head: object = {}) =>
  signedText({ ...header(), ...head }, encode({ ...claims(), ...own }));
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
  ["no key id", {}, { kid: undefined }],
  ["a number as key id", {}, { kid: 1 }],
  ["SQL in its key id", {}, { kid: "' or '1'='1" }],
  ["more SQL in its key id", {}, { kid: "x'; drop table signing_key; --" }],
  ["a pattern as key id", {}, { kid: "%" }],
  ["a path as key id", {}, { kid: "/dev/null" }],
  ["an encoded path as key id", {}, { kid: "..%2f..%2fdev%2fnull" }],
  ["a path of another system as key id", {}, { kid: "..\\..\\windows\\win.ini" }],
  ["an address as key id", {}, { kid: "http://127.0.0.1:1/key" }],
  ["a byte of nothing in its key id", {}, { kid: "\u0000" }],
  ["a property of objects as key id", {}, { kid: "__proto__" }],
  ["another token in it, as it says", {}, { cty: "JWT" }],
  ["an unknown critical extension", {}, { crit: ["x"], x: 1 }],
  ["a payload that is not encoded, as it says", {}, { crit: ["b64"], b64: false }],
  ["a payload that is not encoded, in passing", {}, { b64: false }],
  ["another issuer", { iss: "http://evil.example/oidc" }, {}],
  ["the address as its issuer", { iss: "http://hms.localhost/oidc" }, {}],
  ["another audience", { aud: "http://evil.example/" }, {}],
  ["a longer audience", { aud: "urn:hms:test2" }, {}],
  ["only foreign audiences", { aud: ["http://evil.example/", "urn:hms:test2"] }, {}],
  ["no audiences", { aud: [] }, {}],
  ["an audience within audiences", { aud: [["urn:hms:test"]] }, {}],
  ["no end", { exp: undefined }, {}],
  ["a past end", { exp: 1 }, {}],
  ["a negative end", { exp: -1 }, {}],
  ["an end in the wrong type", { exp: "9999999999" }, {}],
  ["an end that is a date", { exp: "2099-01-01T00:00:00Z" }, {}],
  ["an end between two seconds", { exp: seconds() + 250.5 }, {}],
  ["an end in 10^292 years", { exp: 1e300 }, {}],
  ["an end later than any of ours", { exp: seconds() + 3600 }, {}],
  ["no time of issue", { iat: undefined }, {}],
  ["a time of issue in the future", { iat: seconds() + 3600, exp: seconds() + 3660 }, {}],
  ["a time of issue in the wrong type", { iat: String(seconds()) }, {}],
  ["a time of issue between two seconds", { iat: seconds() - 0.5 }, {}],
  ["a start in the wrong type", { nbf: "0" }, {}],
  ["a start in an hour", { nbf: seconds() + 3600 }, {}],
  ["a start in the future", { nbf: 9_999_999_999 }, {}],
  ["no subject", { sub: undefined }, {}],
  ["a subject that is nobody", { sub: "0192aaaa-0000-7000-8000-000000000000" }, {}],
  ["a grant that has ended", { gid: "gone" }, {}],
  ["somebody else's client", { client_id: "hms-cli" }, {}],
] as const)("a token with %s is refused", async (_, own, head) => {
  expect(await who(await signed(own, head))).toBeUndefined();
  // The key that signs is still there, and nothing else than that was wrong.
  expect(await who(await signed())).toMatchObject({ id: sub });
});

test("a token for several audiences is good if it is for us too", async () => {
  expect(await who(await signed({ aud: ["http://wiki.example/", "urn:hms:test"] }))).toMatchObject({ id: sub });
});

test("a payload that was signed as it stands, unencoded, is refused", async () => {
  const head = { ...header(), crit: ["b64"], b64: false };
  const text = JSON.stringify(claims());
  const raw = await signedText(head, text);
  const encoded = await signedText(head, encode(claims()), `${encode(head)}.${text}`);
  const detached = await signedText(head, "", `${encode(head)}.${text}`);
  const unsaid = await signedText(header(), encode(claims()), `${encode(header())}.${text}`);
  for (const token of [raw, encoded, detached, unsaid]) expect(await who(token)).toBeUndefined();
});

test("a token in a token is refused, also if the inner one is good", async () => {
  const inner = await signed();
  expect(await who(inner)).toMatchObject({ id: sub });
  for (const cty of ["JWT", "jwt", undefined]) {
    const nested = (payload: string) => signedText({ ...header(), cty }, payload);
    expect(await who(await nested(Buffer.from(inner).toString("base64url")))).toBeUndefined();
    expect(await who(await nested(encode(inner)))).toBeUndefined();
  }
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
  const twice = (text: string) => signedText(header(), Buffer.from(text).toString("base64url"));
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

test("a key that was retired more than a day ago is no key any more, whether it is forgotten by then or not", async () => {
  const keys = running.kernel.client(identityKeys.SigningKeyService, operator);
  const kids = async () => (await keys.listSigningKeys({})).keys.map(({ kid }) => kid);
  await keys.rotateSigningKeys({});
  expect(await kids()).toContain(key.kid);
  expect(await who(await signed())).toMatchObject({ id: sub });
  await scene.database.db
    .updateTable("signing_key")
    .set({ retired_at: new Date(Date.now() - 25 * 3_600_000) })
    .where("kid", "=", key.kid)
    .execute();
  const later = await scene.start();
  expect(await later.identity.tokens.principalOf(await signed())).toBeUndefined();
  await keys.rotateSigningKeys({});
  expect(await kids()).not.toContain(key.kid);
  expect(await who(await signed())).toBeUndefined();
  const left = await scene.database.db.selectFrom("signing_key").select("kid").where("kid", "=", key.kid).execute();
  expect(left).toEqual([]);
});

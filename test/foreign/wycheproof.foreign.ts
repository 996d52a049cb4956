import { createHmac, verify, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cose, isoCrypto } from "@simplewebauthn/server/helpers";
import { compactVerify, createLocalJWKSet, type JWK } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { decrypt } from "../../packages/secrets/src/aes-gcm.ts";
import { isJwt } from "../../services/identity/src/tokens/access-tokens.ts";
import { missing, wycheproof } from "./foreign-tools.ts";

const why = missing("go");

/** One vector of a file of Project Wycheproof. */
interface Vector {
  readonly tcId: number;
  readonly comment: string;
  readonly flags: readonly string[];
  readonly result: "valid" | "invalid" | "acceptable";
  readonly [name: string]: unknown;
}
interface Group {
  readonly tests: readonly Vector[];
  readonly [name: string]: unknown;
}

let folder = "";
beforeAll(async () => {
  if (why === undefined) folder = await wycheproof();
}, 120_000);

const groupsOf = (name: string) =>
  (JSON.parse(readFileSync(join(folder, `${name}_test.json`), "utf8")) as { testGroups: Group[] }).testGroups;
const bytes = (hex: unknown) => Buffer.from(String(hex), "hex");
const publicKey = (group: Group) => group.publicKeyJwk as JWK;
const hasThrown = Symbol("thrown");
const orThrown = async <T>(work: () => T | Promise<T>) => {
  try {
    return await work();
  } catch {
    return hasThrown;
  }
};

const jwkOf = (group: Group) => (group.public ?? group.private) as JWK;

/** Takes a token as the identity service does, whose keys are these. */
async function acceptsToken(group: Group, { jws }: Vector): Promise<boolean> {
  if (!isJwt(String(jws))) return false;
  await compactVerify(String(jws), createLocalJWKSet({ keys: [jwkOf(group)] }), { algorithms: ["ES256"] });
  return true;
}

/** Judges every vector of a file; those that were judged otherwise than the file says. */
async function wrongOnes(
  name: string,
  isGood: (group: Group, vector: Vector) => unknown,
  isKnown: (group: Group, vector: Vector) => boolean = () => true,
): Promise<{ wrong: string[]; count: number }> {
  const wrong: string[] = [];
  let count = 0;
  for (const group of groupsOf(name)) {
    for (const vector of group.tests) {
      if (vector.result === "acceptable" || !isKnown(group, vector)) continue;
      count += 1;
      const good = (await orThrown(() => isGood(group, vector))) === true;
      if (good !== (vector.result === "valid")) wrong.push(`${vector.tcId} (${vector.result}): ${vector.comment}`);
    }
  }
  return { wrong, count };
}

const { COSEALG, COSECRV, COSEKEYS, COSEKTY } = cose;
const fromUrl = (text: unknown) => new Uint8Array(Buffer.from(String(text), "base64url"));

/** A passkey's public key as authenticators write it. */
function coseOf({ kty, x, y }: JWK): Map<number, unknown> {
  return kty === "OKP"
    ? new Map<number, unknown>([
        [COSEKEYS.kty, COSEKTY.OKP],
        [COSEKEYS.alg, COSEALG.EdDSA],
        [COSEKEYS.crv, COSECRV.ED25519],
        [COSEKEYS.x, fromUrl(x)],
      ])
    : new Map<number, unknown>([
        [COSEKEYS.kty, COSEKTY.EC2],
        [COSEKEYS.alg, COSEALG.ES256],
        [COSEKEYS.crv, COSECRV.P256],
        [COSEKEYS.x, fromUrl(x)],
        [COSEKEYS.y, fromUrl(y)],
      ]);
}
/**
 * The library of passkeys also reads the right two numbers where they are written otherwise than in DER. It gains nobody
 * anything: only who can sign has them, and each challenge is used up by the first answer.
 */
const OTHER_ENCODING = /length of|misses leading 0|append|indefinite|unused 0's|repeating element|non-minimal/;
const byPasskey = (group: Group, { msg, sig }: Vector) =>
  isoCrypto.verify({
    cosePublicKey: coseOf(publicKey(group)) as never,
    signature: new Uint8Array(bytes(sig)),
    data: new Uint8Array(bytes(msg)),
  });

describe.skipIf(why)(`Wycheproof's vectors${why ? `: skipped, ${why}` : ""}`, () => {
  test("of signed JSON: no access token is taken that is invalid, or signed by another algorithm than ours", async () => {
    const taken = await wrongOnes("json_web_signature", acceptsToken);
    expect(taken.wrong.filter((one) => one.includes("(invalid)"))).toEqual([]);
    // What is signed by other algorithms is refused however valid it is.
    const isEs256 = (group: Group) => (jwkOf(group).alg ?? "ES256") === "ES256" && jwkOf(group).kty === "EC";
    const others = await wrongOnes("json_web_signature", acceptsToken, (group) => !isEs256(group));
    const valid = groupsOf("json_web_signature")
      .filter((group) => !isEs256(group))
      .flatMap(({ tests }) => tests.filter(({ result }) => result === "valid"));
    expect(others.wrong.length).toBe(valid.length);
    const ours = await wrongOnes("json_web_signature", acceptsToken, (group) => isEs256(group));
    expect([ours.wrong, ours.count > 20]).toEqual([[], true]);
  });

  test("of ECDSA over P-256, as tokens are signed", async () => {
    const { wrong, count } = await wrongOnes("ecdsa_secp256r1_sha256_p1363", async (group, { msg, sig }) => {
      const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
      const key = await webcrypto.subtle.importKey("spki", bytes(group.publicKeyDer), algorithm, false, ["verify"]);
      return webcrypto.subtle.verify(algorithm, key, bytes(sig), bytes(msg));
    });
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(200);
  });

  test("of Ed25519, as checkpoints of the audit log are signed", async () => {
    const { wrong, count } = await wrongOnes("ed25519", (group, { msg, sig }) =>
      verify(null, bytes(msg), String(group.publicKeyPem), bytes(sig)),
    );
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(100);
  });

  test("of ECDSA and Ed25519, as passkeys sign", async () => {
    // Keys come as points here, and signatures in DER.
    const isPoint = ({ publicKey: key }: Group) =>
      String((key as { uncompressed?: string }).uncompressed).length === 130;
    const pointOf = (group: Group) => {
      const point = bytes((group.publicKey as { uncompressed: string }).uncompressed);
      const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString("base64url"));
      return { ...group, publicKeyJwk: { kty: "EC", x, y } };
    };
    const ecdsa = await wrongOnes(
      "ecdsa_secp256r1_sha256",
      (group, vector) => byPasskey(pointOf(group), vector),
      isPoint,
    );
    const ed25519 = await wrongOnes("ed25519", byPasskey);
    expect([...ecdsa.wrong, ...ed25519.wrong].filter((one) => !OTHER_ENCODING.test(one))).toEqual([]);
    expect(ecdsa.wrong.length).toBeLessThanOrEqual(24);
    expect(ecdsa.count + ed25519.count).toBeGreaterThan(500);
  });

  test("of HMAC-SHA-256, as tickets, workload tokens and the audit log's chain are authenticated", async () => {
    const isWhole = ({ tagSize }: Group) => tagSize === 256;
    const isSame = (_: Group, { key, msg, tag }: Vector) =>
      createHmac("sha256", bytes(key)).update(bytes(msg)).digest("hex") === tag;
    const { wrong, count } = await wrongOnes("hmac_sha256", isSame, isWhole);
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(50);
  });

  test("of AES-GCM, as secrets are sealed", async () => {
    const isOurs = ({ keySize, ivSize, tagSize }: Group) => keySize === 256 && ivSize === 96 && tagSize === 128;
    const opens = (_: Group, { key, iv, ct, tag, aad, msg }: Vector) =>
      decrypt(bytes(key), Buffer.concat([bytes(iv), bytes(ct), bytes(tag)]), bytes(aad)).equals(bytes(msg));
    const { wrong, count } = await wrongOnes("aes_gcm", opens, isOurs);
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(50);
  });
});

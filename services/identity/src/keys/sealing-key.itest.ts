import { utimesSync } from "node:fs";
import { identityKeys } from "@hms/contracts";
import { openSealingKey, sealedBy } from "@hms/secrets";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newTotpSecret, stepAt, totpCode } from "../factors/totp.ts";
import { putTotp, useTotp } from "../factors/totp-store.ts";
import { putProvider, secretOf } from "../outside/provider-store.ts";
import { codeOf, IdentityScene, operator } from "../testing/identity-scene.ts";
import { somebody } from "../testing/people.ts";

let scene: IdentityScene;
beforeAll(async () => {
  scene = await IdentityScene.open();
});
afterAll(async () => {
  await scene?.[Symbol.asyncDispose]();
  expect(scene.failures).toEqual([]);
});

/** By which keys everything in the database is sealed. */
async function keysInUse(): Promise<string[]> {
  const { db } = scene.database;
  const tables = ["signing_key", "totp", "identity_provider"] as const;
  const rows = await Promise.all(tables.map((table) => db.selectFrom(table).select("sealed").execute()));
  for (const found of rows) expect(found.length).toBeGreaterThan(0);
  return [...new Set(rows.flat().map(({ sealed }) => sealedBy(sealed)))];
}

test("the sealing key is replaced while everything runs: all secrets are sealed anew and open everywhere, and the old key goes", async () => {
  const [one, other] = [await scene.start(), await scene.start()];
  const { database } = scene;
  const before = openSealingKey(scene.keyFile);
  const oldId = before.id;
  await one.kernel.client(identityKeys.SigningKeyService, operator).listSigningKeys({});
  const accounts = await Promise.all(["anna", "ben", "carl"].map((login) => somebody(database, login)));
  const secrets = accounts.map(() => newTotpSecret());
  for (const [n, accountId] of accounts.entries()) {
    await putTotp(database.db, before, { accountId, secret: secrets[n] as Buffer, step: 0 });
  }
  const terms = { issuer: "https://login.example.org", clientId: "us", signUp: undefined };
  await putProvider(database.db, before, { name: "work", displayName: "Work", clientSecret: "hush", ...terms });
  expect(await keysInUse()).toEqual([oldId]);

  const keys = one.kernel.client(identityKeys.SealingKeyService, operator);
  const [replaced, again] = [await keys.replaceSealingKey({}), await keys.replaceSealingKey({})];
  expect(replaced).toMatchObject({ oldKeyIds: [oldId], resealed: 6 });
  // Whoever asks twice gets no third key.
  expect(again).toMatchObject({ keyId: replaced.keyId, oldKeyIds: [oldId], resealed: 0 });
  expect(await keysInUse()).toEqual([replaced.keyId]);

  // A process that heard nothing of it opens what is sealed anew, and seals by the new key.
  const now = openSealingKey(scene.keyFile);
  const step = (secret: Buffer) => ({ code: totpCode(secret, stepAt(Date.now())), nowMs: Date.now() });
  for (const [n, accountId] of accounts.entries()) {
    const sealing = n === 0 ? before : now;
    expect(await useTotp(database.db, sealing, { accountId, ...step(secrets[n] as Buffer) })).toBe(true);
  }
  const provider = await database.db.selectFrom("identity_provider").selectAll().executeTakeFirstOrThrow();
  expect(secretOf(now, provider)).toBe("hush");
  await other.kernel.client(identityKeys.SigningKeyService, operator).rotateSigningKeys({});
  expect(await keysInUse()).toEqual([replaced.keyId]);

  // Not at once: what was begun under the old key may go on for minutes.
  expect(await codeOf(keys.forgetOldSealingKeys({}))).toBe("FAILED_PRECONDITION");
  const past = Date.now() / 1000 - 7200;
  utimesSync(scene.keyFile, past, past);
  expect(await keys.forgetOldSealingKeys({})).toMatchObject({ keyId: replaced.keyId, forgottenKeyIds: [oldId] });
  expect(openSealingKey(scene.keyFile).oldIds).toEqual([]);
  expect(await keys.forgetOldSealingKeys({})).toMatchObject({ forgottenKeyIds: [] });
  expect(secretOf(openSealingKey(scene.keyFile), provider)).toBe("hush");
});

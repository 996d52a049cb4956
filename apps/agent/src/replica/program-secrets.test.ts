import { mkdtempSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import { openSealingKey, sealedBy, serviceSecretContext } from "@hms/secrets";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isSameSpec, ProgramSecrets, withoutSealed } from "./program-secrets.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hms-program-secrets-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const keyFile = () => join(folder, "secrets.key");
const seal = (value: string, name: string, version = 1, environment = "prod") =>
  openSealingKey(keyFile()).seal(Buffer.from(value), serviceSecretContext({ environment, name, version }));

function specOf(sealed: Buffer) {
  return create(agent.ReplicaSpecSchema, {
    replicaId: "prod/app/1/0-x",
    environment: "prod",
    secretVariables: [
      {
        name: "URL",
        pieces: [{ piece: { case: "text", value: "db://$" } }, { piece: { case: "secret", value: "pw" } }],
      },
    ],
    secrets: [{ name: "pw", version: 1n, sealed: new Uint8Array(sealed) }],
  });
}

test("variables are put together from what opens as this version of this secret in this environment only", () => {
  const { env, mask } = new ProgramSecrets(keyFile()).open(specOf(seal("correct-horse", "pw")));
  expect(env).toEqual({ URL: "db://$correct-horse" });
  expect(mask.stream().push(Buffer.from("a correct-horse b")).toString()).toBe("a *** b");
  for (const other of [seal("x", "other"), seal("x", "pw", 2), seal("x", "pw", 1, "default")]) {
    expect(() => new ProgramSecrets(keyFile()).open(specOf(other))).toThrow(/belongs elsewhere/);
  }
});

test("a key that is not there is named and never made anew", () => {
  const spec = specOf(seal("correct-horse", "pw"));
  rmSync(keyFile());
  const secrets = new ProgramSecrets(keyFile());
  expect(() => secrets.open(spec)).toThrow(/secrets\.key is not there.*Restore it/);
  expect(() => secrets.open(spec)).toThrow(/is not there/);
  expect(secrets.open({ environment: "prod", secretVariables: [], secrets: [] }).env).toEqual({});
});

test("what an old key has sealed is sealed anew, once, and is the same spec", () => {
  const spec = specOf(seal("correct-horse", "pw"));
  const key = openSealingKey(keyFile());
  const secrets = new ProgramSecrets(keyFile());
  expect(secrets.reseal(spec)).toBeUndefined();
  key.replace();
  const anew = secrets.reseal(spec);
  expect(anew?.resealed).toBe(1);
  const [resealed] = anew?.spec.secrets ?? [];
  expect(sealedBy(resealed?.sealed ?? new Uint8Array())).toBe(key.id);
  expect(anew && isSameSpec(spec, anew.spec)).toBe(true);
  const other = specOf(seal("correct-horse", "pw"));
  expect(isSameSpec(spec, { ...other, secrets: other.secrets.map((each) => ({ ...each, version: 2n })) })).toBe(false);
  utimesSync(keyFile(), 1, 1);
  key.forgetOld();
  expect(anew && secrets.open(anew.spec).env).toEqual({ URL: "db://$correct-horse" });
});

test("nothing that is sealed is shown with a replica", () => {
  const spec = specOf(seal("correct-horse", "pw"));
  expect(withoutSealed(spec).secrets).toMatchObject([{ name: "pw", version: 1n, sealed: new Uint8Array() }]);
  expect(spec.secrets[0]?.sealed.length).toBeGreaterThan(0);
});

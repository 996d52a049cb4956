import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseManifest } from "@hms/manifest";
import { absentDatabase } from "@hms/postgres";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { DeploymentTables } from "../tables.ts";
import { SecretVault } from "./secret-vault.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hms-vault-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const manifest = parseManifest("name: app\nrun: {command: x}\n");
const app = { environment: "default", service: "app" };

test("a server that starts without the database has what an earlier one kept, until that is destroyed", async () => {
  const file = join(folder, "secrets.json");
  const sealed = Buffer.from("sealed by the installation's key");
  writeFileSync(file, JSON.stringify([["default/word/7", sealed.toString("base64")]]));
  const vault = new SecretVault({ database: absentDatabase<DeploymentTables>("deployment"), sealing: undefined, file });
  const given = await vault.of(app, { manifest, secrets: { word: 7 } });
  expect(given.secrets).toEqual([{ name: "word", version: 7n, sealed: new Uint8Array(sealed) }]);
  await expect(vault.of(app, { manifest, secrets: { word: 8 } })).rejects.toMatchObject({ code: "UNAVAILABLE" });
  vault.forget({ environment: "default", name: "word" }, [7]);
  await vi.waitFor(() => expect(readFileSync(file, "utf8")).toBe("[]"));
  expect(statSync(file).mode & 0o777).toBe(0o600);
  await expect(vault.of(app, { manifest, secrets: { word: 7 } })).rejects.toMatchObject({ code: "UNAVAILABLE" });
});

test("a file that the disk has spoilt holds nothing", async () => {
  const file = join(folder, "secrets.json");
  writeFileSync(file, "[[");
  const vault = new SecretVault({ database: absentDatabase<DeploymentTables>("deployment"), sealing: undefined, file });
  await expect(vault.of(app, { manifest, secrets: { word: 7 } })).rejects.toMatchObject({ code: "UNAVAILABLE" });
});

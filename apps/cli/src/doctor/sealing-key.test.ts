import { chmodSync, writeFileSync } from "node:fs";
import { openSealingKey } from "@hms/secrets";
import { tempFolder } from "@hms/testkit";
import { expect, test } from "vitest";
import { sealingKey } from "./sealing-key.ts";

test("says where the sealing key is, and why it cannot be had", () => {
  using folder = tempFolder();
  const file = `${folder.path}/secrets.key`;
  const look = () => sealingKey({ sealingKey: file });
  expect(look()).toMatchObject({ level: "ok", finding: expect.stringContaining("first start makes one") });
  const key = openSealingKey(file);
  expect(look()).toMatchObject({ level: "ok", finding: expect.stringContaining(`${key.id}, ${file}; keep a copy`) });
  key.replace();
  expect(look().finding).toContain("1 that only opens: hms-sys sealing-key forget");
  chmodSync(file, 0o644);
  expect(look()).toMatchObject({ level: "problem", finding: expect.stringContaining("chmod 600") });
  chmodSync(file, 0o600);
  writeFileSync(file, "hms-kek-file /nowhere/key\n");
  expect(look()).toMatchObject({ level: "problem", finding: expect.stringContaining("/nowhere/key cannot be read") });
});

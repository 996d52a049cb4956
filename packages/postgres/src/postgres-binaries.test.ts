import { existsSync, readlinkSync } from "node:fs";
import { tempFolder } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { findPostgresBinaries } from "./postgres-binaries.ts";

const files = {
  "native/pg-symlinks.json": JSON.stringify([
    { source: "native/lib/libpq.so.5.18", target: "native/lib/libpq.so.5" },
    { source: "native/lib/libpq.so.5.18", target: "native/lib/libpq.so" },
  ]),
  "native/lib/libpq.so.5.18": "a library",
};

describe("the embedded binaries", () => {
  test("are found for this machine, and exist", () => {
    using links = tempFolder();
    const { initdb, postgres, env } = findPostgresBinaries(links.path);
    expect(existsSync(initdb) && existsSync(postgres)).toBe(true);
    expect(env).toEqual({});
  });

  test("get their library links if the installation made none", () => {
    using folder = tempFolder(files);
    using links = tempFolder();
    expect(findPostgresBinaries(links.path, `${folder.path}/native`).env).toEqual({});
    expect(readlinkSync(`${folder.path}/native/lib/libpq.so.5`)).toBe("libpq.so.5.18");
  });
});

import { writeFileSync } from "node:fs";
import { tempFolder } from "@hms/testkit";
import { expect, test } from "vitest";
import { hostEnvironment } from "./index.ts";

const URL = "postgres://hms:secret@127.0.0.1/hms";

test("the database's address, Redis's and the spans' headers come from the file that holds them", () => {
  using folder = tempFolder();
  const file = (name: string, text: string) => {
    writeFileSync(`${folder.path}/${name}`, text, { mode: 0o400 });
    return `${folder.path}/${name}`;
  };
  const host = hostEnvironment({
    DATABASE_URL_FILE: file("database", `${URL}\n`),
    HMS_REDIS_URL_FILE: file("redis", "rediss://:pw@cache:6379"),
    OTEL_EXPORTER_OTLP_HEADERS_FILE: file("headers", "authorization=Bearer%20x\n"),
  });
  expect([host.databaseUrl, host.redisUrl, host.otlpHeaders, host.embedsDatabase]).toEqual([
    URL,
    "rediss://:pw@cache:6379",
    { authorization: "Bearer x" },
    false,
  ]);
});

test("a file that gives nothing is an error that says why, to whoever asks only", () => {
  const read = (env: NodeJS.ProcessEnv) => () => hostEnvironment(env).databaseUrl;
  expect(read({})()).toBeUndefined();
  expect(read({ DATABASE_URL: URL })()).toBe(URL);
  const nowhere = { DATABASE_URL_FILE: "/nowhere" };
  expect(hostEnvironment(nowhere).embedsDatabase).toBe(false);
  expect(read(nowhere)).toThrow(/DATABASE_URL_FILE gives no secret: \/nowhere cannot be read \(ENOENT\)/);
  expect(read({ DATABASE_URL_FILE: "/dev/null" })).toThrow(/is empty/);
  expect(read({ DATABASE_URL: URL, DATABASE_URL_FILE: "/x" })).toThrow(/DATABASE_URL and DATABASE_URL_FILE are set/);
});

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
  expect([host.databaseUrl, host.redisUrl, host.otlpHeaders, host.embedsDatabase, host.asksForDatabase]).toEqual([
    URL,
    "rediss://:pw@cache:6379",
    { authorization: "Bearer x" },
    false,
    false,
  ]);
});

test("a command is asked once, and only by whoever needs the database", () => {
  using folder = tempFolder();
  const counter = `${folder.path}/asked`;
  const host = hostEnvironment({ DATABASE_URL_COMMAND: `echo x >> '${counter}'; wc -l < '${counter}'` });
  expect([host.embedsDatabase, host.asksForDatabase]).toEqual([false, true]);
  expect([host.databaseUrl?.trim(), host.databaseUrl?.trim()]).toEqual(["1", "1"]);
});

test("what gives nothing is an error that says why and never what was printed", () => {
  const read = (env: NodeJS.ProcessEnv) => () => hostEnvironment(env).databaseUrl;
  expect(read({})()).toBeUndefined();
  expect(read({ DATABASE_URL: URL })()).toBe(URL);
  expect(read({ DATABASE_URL_FILE: "/nowhere" })).toThrow(
    /DATABASE_URL_FILE gives no secret: \/nowhere cannot be read \(ENOENT\)/,
  );
  expect(read({ DATABASE_URL_COMMAND: "true" })).toThrow(/prints nothing/);
  const failing = read({ DATABASE_URL_COMMAND: "echo hunter2; echo sealed >&2; exit 2" });
  expect(failing).toThrow(/ended with 2: sealed/);
  expect(failing).not.toThrow(/hunter2/);
  expect(read({ DATABASE_URL_COMMAND: "head -c 70000 /dev/zero" })).toThrow(/more than 64 KiB/);
  expect(read({ DATABASE_URL: URL, DATABASE_URL_FILE: "/x" })).toThrow(/DATABASE_URL and DATABASE_URL_FILE are set/);
});

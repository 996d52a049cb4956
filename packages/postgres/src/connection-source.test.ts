import { tempFolder, tempInstance } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { connectionSource } from "./connection-source.ts";

describe("the source of connections", () => {
  test("is the embedded server's socket without DATABASE_URL, and the environment cannot bend it", async () => {
    await using instance = tempInstance();
    const source = connectionSource(instance.paths);
    expect(source.kind).toBe("embedded");
    expect(source.as("hms_a")).toEqual({
      host: `${instance.paths.run}/pg`,
      port: 5432,
      database: "postgres",
      ssl: false,
      user: "hms_a",
    });
    await expect(source.admin()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("is DATABASE_URL with its TLS settings, and its description holds no password", async () => {
    await using instance = tempInstance();
    using files = tempFolder({ "ca.pem": "a certificate" });
    const url = `postgres://ops:s3cr%2Ft@db.example:6432/hms?sslmode=verify-full&sslrootcert=${files.path}/ca.pem`;
    const source = connectionSource(instance.paths, url);
    expect(await source.admin()).toMatchObject({
      host: "db.example",
      port: 6432,
      database: "hms",
      user: "ops",
      password: "s3cr/t",
      ssl: { ca: "a certificate" },
    });
    expect(source.as("hms_a").password).toBeUndefined();
    expect(source.description).toContain("db.example:6432");
    expect(source.description).not.toContain("s3cr");
  });

  test("derives one password per role, the same in every process with the same DATABASE_URL", async () => {
    await using here = tempInstance();
    await using there = tempInstance();
    const url = "postgres://ops:secret@db.example/hms";
    const [one, other] = [connectionSource(here.paths, url), connectionSource(there.paths, url)];
    expect(one.passwordOf("hms_a")).toBe(other.passwordOf("hms_a"));
    expect(one.passwordOf("hms_a")).not.toBe(one.passwordOf("hms_b"));
    expect(connectionSource(here.paths).passwordOf("hms_a")).not.toBe(
      connectionSource(there.paths).passwordOf("hms_a"),
    );
  });

  test.each([
    ["mysql://a@b/c", /does not begin with postgres/],
    ["postgres://db.example/hms", /names no user/],
    ["postgres://ops@db.example", /names no database/],
    ["postgres://ops:topsecret@db.example/hms?sslrootcert=/nowhere/ca.pem", /no such file/],
  ])("refuses %s and says why", async (url, why) => {
    await using instance = tempInstance();
    expect(() => connectionSource(instance.paths, url)).toThrow(why);
    expect(() => connectionSource(instance.paths, url)).not.toThrow(/topsecret/);
  });
});

import { describe, expect, test } from "vitest";
import { type Migration, pendingMigrations } from "./migrations.ts";

const file = (name: string, sha256 = name): Migration => ({ name, sha256, sql: "" });
const one = file("0001_one.sql");
const two = file("0002_two.sql");
const three = file("0003_three.sql");
const pending = (known: Migration[], applied: Migration[]) =>
  pendingMigrations("deployment", known, applied).map(({ name }) => name);

describe("what is left to apply", () => {
  test("is everything in a new database, and nothing in a current one", () => {
    expect(pending([one, two], [])).toEqual([one.name, two.name]);
    expect(pending([one, two], [two, one])).toEqual([]);
  });

  test("is nothing in a database that is ahead of this release", () => {
    expect(pending([one], [one, two, three])).toEqual([]);
  });

  test("is refused if an applied file was changed", () => {
    expect(() => pending([file(one.name, "other"), two], [one])).toThrow(
      /0001_one\.sql of deployment was changed after/,
    );
  });

  test("is refused if a file comes before one that was applied", () => {
    expect(() => pending([one, two, three], [one, three])).toThrow(
      /0002_two\.sql of deployment comes before 0003_three/,
    );
  });

  test("is refused if an applied file is gone", () => {
    expect(() => pending([one, three], [one, two])).toThrow(
      /0002_two\.sql of deployment has been applied, but its file is gone/,
    );
  });
});

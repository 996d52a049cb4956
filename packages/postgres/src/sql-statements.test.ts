import { describe, expect, test } from "vitest";
import { positionIn, splitSqlStatements } from "./sql-statements.ts";

const texts = (sql: string) => splitSqlStatements(sql).map(({ text }) => text);

describe("splitting an SQL text", () => {
  test("ends statements at semicolons, the last one also without", () => {
    expect(texts("select 1; select 2;\n\nselect 3")).toEqual(["select 1", "select 2", "select 3"]);
  });

  test.each([
    ["a string", "select 'a;b''c;d'"],
    ["an escape string", "select E'it\\'s; here'"],
    ["a name", 'create table "odd;""name" (id int)'],
    ["a line comment", "select 1 -- not; here\n+ 2"],
    ["a nested block comment", "select /* a; /* b; */ c; */ 1"],
    ["a dollar quote", "do $$ begin perform 1; end $$"],
    [
      "a tagged dollar quote",
      "create function f() returns int language sql as $body$ select $$;$$::text; select 1; $body$",
    ],
    ["a name with a dollar sign", "select a$b$ from t where a$b$ = 1"],
  ])("does not split inside %s", (_what, sql) => {
    expect(texts(`${sql};\nselect 2`)).toEqual([sql, "select 2"]);
  });

  test("leaves out what holds only comments and blanks", () => {
    expect(texts("-- head\n;\n  ; select 1;\n-- tail\n")).toEqual(["select 1"]);
  });

  test("places each statement in the text it stands in, behind its leading comments", () => {
    const sql = "-- one\ncreate table a (id int);\n\n-- two\n  create table b (id int);\n";
    const lines = splitSqlStatements(sql).map(({ offset }) => positionIn(sql, offset));
    expect(lines).toEqual([
      { line: 2, column: 1 },
      { line: 5, column: 3 },
    ]);
  });
});

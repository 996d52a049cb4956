import { readFileSync } from "node:fs";
import { HmsError, StatusCode } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import * as sdk from "./errors.ts";

const document = readFileSync(new URL("../../../docs/sdks.md", import.meta.url), "utf8");
const rows = [...document.matchAll(/^\| (\d+) \| ([A-Z_]+) \| (?:no error|`(\w+)`) \|/gm)].map(
  ([, number, code = "", name = ""]) => ({ number: Number(number), code, name }),
);
const classes = new Map<string, unknown>(Object.entries(sdk));
const failures = rows.slice(1);

describe("the classes of errors", () => {
  test("are documented for all seventeen codes, by their numbers", () => {
    expect(Object.fromEntries(rows.map(({ number, code }) => [code, number]))).toEqual(StatusCode);
  });

  test.each(failures)("$code is thrown as $name", ({ number, code, name }) => {
    const arrived = sdk.FfiError.of(new HmsError(code as sdk.ErrorCode, "Why.", { reason: "BECAUSE" }));
    const documented = classes.get(name) as typeof sdk.FfiError;
    expect(arrived).toBeInstanceOf(documented);
    expect(arrived.constructor).toBe(documented);
    expect(arrived).toMatchObject({ code, name, statusCode: number, reason: "BECAUSE", message: "Why." });
  });
});

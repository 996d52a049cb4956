import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HmsError } from "@hms/kernel/errors";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openConfigFile, readRecords } from "./index.ts";

function read(text: string) {
  return readRecords(text, {
    fileName: "colours.json",
    listKey: "colours",
    read: (reader) => ({
      name: reader.text("name", { check: (name) => (name === "" ? "is empty" : undefined) }),
      tags: reader.texts("tags", { alias: "labels" }),
      warm: reader.flag("warm"),
      kind: reader.word("kind", { pure: 1, mixed: 2 }, 0),
    }),
  });
}

function problems(text: string): string[] {
  try {
    read(text);
    return [];
  } catch (error) {
    const { details } = error as HmsError;
    return (details.fieldViolations ?? []).map((v) => `${v.line}:${v.column} ${v.field}: ${v.description}`);
  }
}

describe("a text of records", () => {
  test("is one record, a list, or an object with a list", () => {
    const red = { name: "red", tags: ["a"], warm: true, kind: 1 };
    const text = '{"name": "red", "tags": ["a", "a"], "warm": true, "kind": "pure"}';
    expect(read(text)).toEqual([red]);
    expect(read(`[${text},\n${text}]`)).toEqual([red, red]);
    expect(read(`{"colours": [${text}]}`)).toEqual([red]);
    expect(read("[]")).toEqual([]);
    expect(read('{"name": "\\u00fc"}')).toEqual([{ name: "ü", tags: [], warm: false, kind: 0 }]);
    expect(read('{"name": "x", "labels": ["b"]}')).toMatchObject([{ tags: ["b"] }]);
  });

  test("that is wrong is refused with every problem, its place and the nearest key", () => {
    const text = `[
  {"nam": "red", "warm": "yes", "kind": "puer"},
  {"name": "", "tags": ["a", 1], "labels": [], "name": "x"},
  "blue"
]`;
    expect(problems(text)).toEqual([
      "2:3 [0].name: is missing",
      "2:4 [0].nam: is no key here; did you mean name",
      "2:26 [0].warm: is true or false, without quotes",
      '2:41 [0].kind: cannot be "puer"; did you mean "pure"',
      "3:30 [1].tags[1]: is a text in double quotes",
      "3:34 [1].labels: means the same as tags; keep tags",
      "3:48 [1].name: stands here twice; keep one",
      "4:3 [2]: is no object; write {…}",
    ]);
  });

  test.each([
    ["", "1:1 : has no value here: a text in double quotes, a number, true, false, [ or {"],
    ["[1,]", "1:4 : has no value here: a text in double quotes, a number, true, false, [ or {"],
    ['{"name" "x"}', '1:9 : needs a colon after the key "name"'],
    ["{name: 1}", "1:2 : needs a key in double quotes here"],
    ['{"name": "x"} // end', "1:15 : goes on after its end; remove the rest"],
    ['{"name": "x"', "1:13 : needs a comma or } here"],
    ['{"name": 012}', "1:11 : needs a comma or } here"],
    ["[".repeat(50), "1:22 : is nested too deeply for this file"],
    ["7", "1:1 : is no list; write [{…}, {…}]"],
  ])("%j is no such text", (text, problem) => {
    expect(problems(text)).toEqual([problem]);
  });

  test("of any shape is read or refused with an HmsError", () => {
    const pieces = ['"', "{", "}", "[", "]", ":", ",", '"name"', "1", "true", "\\", "\n", " "];
    let state = 7;
    const random = (below: number) => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return state % below;
    };
    for (let round = 0; round < 3000; round++) {
      const text = Array.from({ length: random(12) }, () => pieces[random(pieces.length)]).join("");
      try {
        read(text);
      } catch (error) {
        expect((error as HmsError).details.reason, text).toBe("CONFIG_FILE_INVALID");
      }
    }
  });
});

describe("an open file", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hms-config-file-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function open(access: "public" | "private" = "public") {
    const path = join(folder, "colours.json");
    const failures: string[] = [];
    const changes: string[] = [];
    const file = openConfigFile({
      path,
      access,
      absent: "nothing",
      parse: (text) => {
        const [record] = read(text);
        return record?.name ?? "";
      },
      onChange: (now, before) => changes.push(`${before} → ${now}`),
      onFailure: (failure) => failures.push(failure.message),
    });
    return { path, file, failures, changes };
  }

  test("is followed through edits, replacement and removal", async () => {
    const { path, file, changes } = open();
    using _ = file;
    expect(file.current).toBe("nothing");
    writeFileSync(path, '{"name": "red"}', { mode: 0o644 });
    await vi.waitFor(() => expect(file.current).toBe("red"), 4000);
    writeFileSync(`${path}.new`, '{"name": "blue"}', { mode: 0o644 });
    renameSync(`${path}.new`, path);
    await vi.waitFor(() => expect(file.current).toBe("blue"), 4000);
    rmSync(path);
    await vi.waitFor(() => expect(file.current).toBe("nothing"), 4000);
    expect(changes).toEqual(["nothing → red", "red → blue", "blue → nothing"]);
  });

  test("that is broken leaves what was read last, and is told of once", () => {
    const { path, file, failures } = open();
    using _ = file;
    writeFileSync(path, '{"name": "red"}', { mode: 0o644 });
    file.reload();
    writeFileSync(path, '{"name": }');
    file.reload();
    file.reload();
    expect(file.current).toBe("red");
    expect(failures).toEqual([expect.stringContaining("colours.json cannot be used. 1:10 has no value here")]);
  });

  test("that others may write, or read where it is private, is not used until that is mended", () => {
    const { path, file, failures } = open("private");
    using _ = file;
    writeFileSync(path, '{"name": "red"}');
    chmodSync(path, 0o644);
    file.reload();
    expect(file.current).toBe("nothing");
    expect(failures).toEqual([expect.stringContaining(`chmod 600 ${path}`)]);
    chmodSync(path, 0o600);
    file.reload();
    expect(file.current).toBe("red");
  });
});

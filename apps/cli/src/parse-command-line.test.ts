import { afterEach, describe, expect, test, vi } from "vitest";
import { commandGroups, commands } from "./command-table.ts";
import { parseCommandLine } from "./parse-command-line.ts";

afterEach(() => vi.restoreAllMocks());

async function parse(line: string) {
  const parsed = await parseCommandLine(line.split(" "), commands);
  if ("exitCode" in parsed) throw new Error(`answered with exit code ${parsed.exitCode}`);
  return parsed;
}

/** What a command line that is answered at once prints, and its exit code. */
async function answer(...argv: string[]) {
  let text = "";
  const keep = (piece: unknown) => {
    text += String(piece);
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(keep);
  vi.spyOn(process.stderr, "write").mockImplementation(keep);
  const parsed = await parseCommandLine(argv, commands);
  return { text, exitCode: "exitCode" in parsed ? parsed.exitCode : undefined };
}

describe("a command line", () => {
  test("takes global options before and after the command", async () => {
    expect((await parse("-e prod services")).globals.environment).toBe("prod");
    expect((await parse("services -e prod -o json -q")).globals).toMatchObject({
      environment: "prod",
      output: "json",
      quiet: true,
    });
  });

  test("takes them before and after the word that names a group of commands, too", async () => {
    const { command, globals } = await parse("-q ffi -e prod list hms.* -o json");
    expect([command.name, globals]).toMatchObject(["ffi list", { environment: "prod", output: "json", quiet: true }]);
  });

  test("leaves everything after -- to the other program, options included", async () => {
    const { args } = await parse("run pay-svc -- ls -l --output x");
    expect(args).toEqual(["pay-svc", "--", "ls", "-l", "--output", "x"]);
  });

  test("is shown the command that was meant, with exit code 2", async () => {
    const { text, exitCode } = await answer("deplyo", "x");
    expect(text).toContain("Did you mean deploy?");
    expect(exitCode).toBe(2);
  });

  test.each([
    [["deploy"]],
    [["services", "-o", "yaml"]],
    [["services", "--nonsense"]],
    [["ffi"]],
    [["ffi", "lst"]],
    [[]],
  ])("%j is a usage error: exit code 2", async (argv) => expect((await answer(...argv)).exitCode).toBe(2));

  test.each(commands.map(({ name }) => name))("%s --help says what it does, with exit code 0", async (name) => {
    const { text, exitCode } = await answer(...name.split(" "), "--help");
    expect(text).toMatch(new RegExp(`^Usage: hms-sys ${name} .*\\n\\n[A-Z][^]*\\.\\n`));
    expect(exitCode).toBe(0);
  });

  const withOptions = commands.filter(({ options = [] }) => options.some(({ hidden }) => !hidden));
  test.each(withOptions.map(({ name, options = [] }) => ({ name, options })))(
    "$name --help names its options",
    async ({ name, options }) => {
      const { text } = await answer(...name.split(" "), "--help");
      for (const { flags, hidden = false } of options) expect(text.includes(flags), flags).toBe(!hidden);
    },
  );
});

test("every group of commands says what it is about", () => {
  const groups = new Set(commands.filter(({ name }) => name.includes(" ")).map(({ name }) => name.split(" ")[0] ?? ""));
  expect([...groups].filter((group) => !commandGroups[group])).toEqual([]);
});

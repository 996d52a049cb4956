import { chmodSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { agent } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { identities, TestMachine } from "../../test/support/test-machine.ts";

const { ADDED, CHANGED, REMOVED } = agent.FileChangeKind;
const MARKS: Record<number, string> = { [ADDED]: "+", [CHANGED]: "~", [REMOVED]: "-" };
const names = { environment: "test", service: "demo" };

async function prepare(machine: TestMachine, sourceDirectory: string, buildCommand = ""): Promise<string> {
  const request = { ...names, sourceDirectory, buildCommand };
  for await (const { event } of machine.keeper.stream("prepareRelease", request)) {
    if (event.case === "release") return event.value.digest;
  }
  throw new Error("no release");
}

/** The comparison, its files as a person reads them: "+ added", "~ changed", "- removed". */
async function compare(machine: TestMachine, request: object) {
  const { digest, releaseFound, files, fileCount } = await machine.keeper.call("compareRelease", {
    ...names,
    ...request,
  });
  return { digest, releaseFound, fileCount, files: files.map(({ kind, path }) => `${MARKS[kind]} ${path}`) };
}

describe.concurrent.each(identities)("a program compared with its release by %s", (identity) => {
  test("that has not changed has the same digest, and no release is made", async () => {
    await using machine = await TestMachine.open(identity);
    const sourceDirectory = machine.source({ "a.txt": "a", "sub/b.txt": "b" });
    const before = await compare(machine, { sourceDirectory });
    expect(before).toMatchObject({ releaseFound: false, files: [] });
    const digest = await prepare(machine, sourceDirectory);
    expect(before.digest).toBe(digest);
    expect(await compare(machine, { sourceDirectory, digest })).toEqual({
      digest,
      releaseFound: true,
      files: [],
      fileCount: 0n,
    });
  });

  test("names what was added, changed and removed, one by one", async () => {
    await using machine = await TestMachine.open(identity);
    const sourceDirectory = machine.source({ "a.txt": "old", "mode.sh": "x", "sub/gone.txt": "b", same: "same" });
    symlinkSync("a.txt", `${sourceDirectory}/link`);
    const digest = await prepare(machine, sourceDirectory);
    writeFileSync(`${sourceDirectory}/a.txt`, "new");
    writeFileSync(`${sourceDirectory}/sub/new.txt`, "new");
    chmodSync(`${sourceDirectory}/mode.sh`, 0o755);
    rmSync(`${sourceDirectory}/sub/gone.txt`);
    rmSync(`${sourceDirectory}/link`);
    symlinkSync("same", `${sourceDirectory}/link`);
    const found = await compare(machine, { sourceDirectory, digest });
    expect(found.files).toEqual(["~ a.txt", "~ link", "~ mode.sh", "- sub/gone.txt", "+ sub/new.txt"]);
    expect(found).toMatchObject({ releaseFound: true, fileCount: 5n });
    expect(found.digest).toBe(await prepare(machine, sourceDirectory));
  });

  test("does not miss what its build made", async () => {
    await using machine = await TestMachine.open(identity);
    const sourceDirectory = machine.source({ "a.txt": "a" });
    const buildCommand = "echo made > made.txt";
    const digest = await prepare(machine, sourceDirectory, buildCommand);
    writeFileSync(`${sourceDirectory}/b.txt`, "b");
    const found = await compare(machine, { sourceDirectory, buildCommand, digest, built: true });
    expect(found.files).toEqual(["+ b.txt"]);
  });

  test("lists fifty files at most, and counts all", async () => {
    await using machine = await TestMachine.open(identity);
    const sourceDirectory = machine.source({ "a.txt": "a" });
    const digest = await prepare(machine, sourceDirectory);
    for (let number = 0; number < 60; number += 1) writeFileSync(`${sourceDirectory}/n${number}`, "n");
    const { files, fileCount } = await compare(machine, { sourceDirectory, digest });
    expect({ listed: files.length, fileCount }).toEqual({ listed: 50, fileCount: 60n });
  });

  test("is refused where it could not be deployed", async () => {
    await using machine = await TestMachine.open(identity);
    await expect(compare(machine, { sourceDirectory: "/nowhere/at/all" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("is not a directory on this machine."),
    });
    await expect(compare(machine, { sourceDirectory: machine.data })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(
      compare(machine, { sourceDirectory: machine.source({ a: "a" }), digest: "../x" }),
    ).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});

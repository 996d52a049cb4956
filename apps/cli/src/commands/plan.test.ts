import { create } from "@bufbuild/protobuf";
import { agent, deployment } from "@hms/contracts";
import { expect, test } from "vitest";
import { renderProgram } from "./plan.ts";

const { ADDED, CHANGED, REMOVED } = agent.FileChangeKind;
const lines = (program: object) => renderProgram(create(deployment.ProgramChangesSchema, program));

test("a first deploy has no program to compare with", () => {
  expect(renderProgram(undefined)).toEqual([]);
});

test("a program that is the same is said to be the same", () => {
  expect(lines({ digestBefore: "sha256:a", digestAfter: "sha256:a" })).toEqual([
    "  nothing in the program's files changes",
  ]);
});

test("files that differ are listed, and those beyond the list are counted", () => {
  const files = [
    { path: "a.js", kind: ADDED },
    { path: "b.js", kind: CHANGED },
    { path: "c.js", kind: REMOVED },
  ];
  const program = { digestBefore: "sha256:a", digestAfter: "sha256:b", files, fileCount: 5n };
  expect(lines(program)).toEqual([
    "  5 files of the program:",
    "    + a.js",
    "    ~ b.js",
    "    - c.js",
    "    … and 2 more",
  ]);
});

test("a program whose release is gone, or that could not be compared, is not said to be the same", () => {
  expect(lines({ digestBefore: "sha256:a", digestAfter: "sha256:b" })).toEqual(["  the program changes"]);
  expect(lines({ digestBefore: "sha256:a", notCompared: "The agent is away." })).toEqual([
    "  the program's files could not be compared: The agent is away.",
  ]);
});

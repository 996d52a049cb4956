import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { clone, create, createFileRegistry } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { allFindings } from "./contract-differences.ts";
import { writeDescriptorSet } from "./descriptor-set.ts";
import { structureProblem } from "./descriptor-structure.ts";
import { mutate } from "./testing/mutations.ts";
import { Random } from "./testing/random.ts";
import { randomFile } from "./testing/random-file.ts";

/** Rules about C++ and Java code alone, which we do not judge. */
const NOT_OURS = ["FIELD_SAME_CPP_STRING_TYPE", "FIELD_SAME_JAVA_UTF8_VALIDATION"];
const CONFIG = JSON.stringify({ version: "v2", breaking: { use: ["WIRE_JSON", "PACKAGE"], except: NOT_OURS } });
const PAIRS_A_RUN = 60;
/** HMS_BREAKING_PAIRS=20000 compares that many. */
const pairs = Number(process.env.HMS_BREAKING_PAIRS ?? 240);
const firstSeed = Number(process.env.HMS_BREAKING_SEED ?? 1);

interface Pair {
  before: FileDescriptorProto;
  after: FileDescriptorProto;
}

function isValid(file: FileDescriptorProto): boolean {
  try {
    createFileRegistry(setOf([file]));
    return structureProblem(setOf([file])) === undefined;
  } catch {
    // It names a type that an earlier mutation took away.
    return false;
  }
}

function randomPair(seed: number): Pair {
  const random = new Random(seed);
  const before = randomFile(random, `p${seed}`);
  const after = clone(FileDescriptorProtoSchema, before);
  for (let count = 1 + random.below(3); count > 0; count -= 1) {
    const draft = clone(FileDescriptorProtoSchema, after);
    mutate(draft, random);
    if (isValid(draft)) Object.assign(after, draft);
  }
  return { before, after };
}

const setOf = (file: FileDescriptorProto[]) => create(FileDescriptorSetSchema, { file });

/** buf's verdicts as "path RULE", as often as it gives them. */
async function oracle(all: Pair[]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), "hms-breaking-"));
  try {
    const [before, after] = [join(folder, "before.binpb"), join(folder, "after.binpb")];
    await writeFile(before, writeDescriptorSet(setOf(all.map((pair) => pair.before))));
    await writeFile(after, writeDescriptorSet(setOf(all.map((pair) => pair.after))));
    const argv = ["breaking", after, "--against", before, "--config", CONFIG, "--error-format", "json"];
    const { stdout } = await promisify(execFile)("buf", argv, { maxBuffer: 64 * 1024 * 1024 }).catch((error) => {
      if (error.code !== 100) throw error;
      return error as { stdout: string };
    });
    const lines = stdout.split("\n").filter((line) => line !== "");
    // It says a renamed value once for each name that the number has now.
    const repeated = (line: string, index: number) =>
      line.includes("ENUM_VALUE_SAME_NAME") && lines.indexOf(line) < index;
    const verdicts = lines.filter((line, index) => !repeated(line, index));
    return verdicts.map((line) => {
      const { path, type, message } = JSON.parse(line) as Record<string, string>;
      return `${path ?? /p\d+/.exec(message ?? "")?.[0]} ${type}`;
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** buf says nothing when the last extension or enum of a package goes; we do. */
function bufOverlooks(rule: string, after: FileDescriptorProto): boolean {
  if (rule === "PACKAGE_EXTENSION_NO_DELETE") return after.extension.length === 0;
  const enums = after.enumType.length + after.messageType.flatMap(({ enumType }) => enumType).length;
  return rule === "PACKAGE_ENUM_NO_DELETE" && enums === 0;
}

function ours({ before, after }: Pair): string[] {
  const [old, now] = [createFileRegistry(setOf([before])), createFileRegistry(setOf([after]))];
  const findings = allFindings(old, now).filter(({ rule }) => !bufOverlooks(rule, after));
  return findings.map(({ file, rule }) => `${file} ${rule}`);
}

/** Pairs that buf can read; a mutation may make what no compiler would. */
async function judged(all: Pair[]): Promise<{ pairs: Pair[]; verdicts: string[] }> {
  try {
    return { pairs: all, verdicts: await oracle(all) };
  } catch (error) {
    if (!String(error).includes("input image")) throw error;
    if (all.length === 1) return { pairs: [], verdicts: [] };
    const half = Math.ceil(all.length / 2);
    const parts = [await judged(all.slice(0, half)), await judged(all.slice(half))];
    return { pairs: parts.flatMap((part) => part.pairs), verdicts: parts.flatMap((part) => part.verdicts) };
  }
}

test(
  `${pairs} mutated contracts are judged as buf breaking judges them, rule by rule`,
  async () => {
    for (let from = 0; from < pairs; from += PAIRS_A_RUN) {
      const seeds = Array.from({ length: Math.min(PAIRS_A_RUN, pairs - from) }, (_, index) => firstSeed + from + index);
      const { pairs: readable, verdicts } = await judged(seeds.map(randomPair));
      expect(readable.flatMap(ours).sort()).toEqual(verdicts.sort());
      expect(readable.length).toBeGreaterThan(seeds.length * 0.9);
    }
  },
  Math.max(60_000, pairs * 50),
);

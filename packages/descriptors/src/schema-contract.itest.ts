import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { create, type FileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { expect, test } from "vitest";
import { contractDifferences } from "./contract-differences.ts";
import { writeDescriptorSet } from "./descriptor-set.ts";
import { contractOfSchemas } from "./schema-contract.ts";
import { Random } from "./testing/random.ts";

/** HMS_SCHEMA_ROUNDS=2000 tries that many. */
const rounds = Number(process.env.HMS_SCHEMA_ROUNDS ?? 200);
const words = [
  "id",
  "userName",
  "user_name",
  "x-id",
  "state",
  "State",
  "labels",
  "labelsEntry",
  "open",
  "9lives",
  "class",
  "choice",
];

function randomSchema(random: Random, depth: number): unknown {
  const kinds = depth > 0 ? 13 : 9;
  switch (random.below(kinds)) {
    case 0:
      return { type: "string", minLength: random.below(3) };
    case 1:
      return { type: random.pick(["integer", "number"]), minimum: -random.below(5) };
    case 2:
      return { type: ["boolean", "null"] };
    case 3:
      return { enum: random.pick([["open", "shut"], ["half-open"], ["on", "off", "state"]]) };
    case 4:
      return { type: "string", format: random.pick(["date-time", "uuid", "date"]) };
    case 5:
      return {};
    case 6:
      return { type: "object", additionalProperties: { type: "integer" } };
    case 7:
      return { $ref: `#/$defs/${random.pick(["Place", "Tree"])}` };
    case 8:
      return { type: "array", items: { type: "string" } };
    case 9:
      return { type: "array", items: randomSchema(random, depth - 1) };
    case 10:
      return { type: "object", additionalProperties: randomSchema(random, depth - 1) };
    case 11:
      return { oneOf: [randomObject(random, depth - 1), { type: "null" }] };
    default:
      return randomObject(random, depth - 1);
  }
}

function randomObject(
  random: Random,
  depth: number,
): { type: string; properties: Record<string, unknown>; required: string[] } {
  const names = words.filter(() => random.chance(0.4));
  const properties = Object.fromEntries(names.map((name) => [name, randomSchema(random, depth)]));
  return { type: "object", properties, required: names.filter(() => random.chance(0.3)) };
}

const $defs = {
  Place: { type: "object", properties: { near: { $ref: "#/$defs/Place" }, kind: { enum: ["town", "sea"] } } },
  Tree: {
    type: "object",
    properties: { kids: { type: "array", items: { $ref: "#/$defs/Tree" } }, at: { $ref: "#/$defs/Place" } },
  },
};

function contractOf(serviceId: string, input: unknown, previous?: FileRegistry): FileRegistry {
  const inputSchema = JSON.stringify({ ...(input as object), $defs });
  const methods = [create(registry.MethodSchemaSchema, { name: "Do", inputSchema, outputSchema: inputSchema })];
  return contractOfSchemas({ serviceId, version: "v1", methods, previous }).files;
}

/** buf reads an image as strictly as compilers do. */
async function expectReadable(all: readonly FileRegistry[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "hms-schema-"));
  try {
    const path = join(folder, "set.binpb");
    const files = all.flatMap(({ files: some }) => [...some].map(({ proto }) => proto));
    const file = [...new Map(files.map((one) => [one.name, one])).values()];
    await writeFile(path, writeDescriptorSet(create(FileDescriptorSetSchema, { file })));
    await promisify(execFile)("buf", ["build", path, "-o", "/dev/null"]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test(
  `${rounds} random schemas become contracts that compilers take, and may grow without breaking anybody`,
  async () => {
    const contracts: FileRegistry[][] = [[], []];
    for (let seed = 1; seed <= rounds; seed += 1) {
      const random = new Random(seed);
      const first = randomObject(random, 3);
      const before = contractOf(`acme.s${seed}`, first);
      const { properties } = first;
      for (const name of Object.keys(properties)) if (random.chance(0.2)) delete properties[name];
      for (let count = random.below(4); count > 0; count -= 1) properties[`added_${count}`] = randomSchema(random, 2);
      const after = contractOf(`acme.s${seed}`, first, before);
      const broken = contractDifferences(before, after).filter(({ severity }) => severity === "error");
      expect(broken, JSON.stringify({ seed, first })).toEqual([]);
      contracts[0]?.push(before);
      contracts[1]?.push(after);
    }
    for (const all of contracts) await expectReadable(all);
  },
  Math.max(60_000, rounds * 100),
);

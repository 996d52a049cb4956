import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempFolder } from "@hms/testkit";
import { expect, test } from "vitest";
import { missing } from "./foreign-tools.ts";
import { type JudgedMessage, judgedMessages } from "./random-contracts.ts";

const noPython = missing("python3");
const seed = Number(process.env.HMS_FUZZ_SEED ?? Date.now() % 1_000_000);
const COUNT = 3000;

/** What the Python SDK says of each message. */
function judgedByPython(cases: readonly JudgedMessage[]): [string, string][][] {
  using folder = tempFolder();
  const file = join(folder.path, "cases.jsonl");
  writeFileSync(file, cases.map((each) => `${JSON.stringify(each)}\n`).join(""));
  const env = { ...process.env, PYTHONPATH: join(import.meta.dirname, "../../sdks/python") };
  const said = execFileSync("python3", [join(import.meta.dirname, "judge_rules.py"), file], {
    env,
    maxBuffer: 1 << 28,
  });
  const lines = said.toString().trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as [string, string][]);
}

test.skipIf(noPython)(
  `${COUNT} random contracts are judged alike by protovalidate and the Python SDK (seed ${seed})`,
  // Two minutes of computing, and many on a machine that has much else to do.
  { timeout: 1_800_000 },
  () => {
    const cases = [...judgedMessages(seed, COUNT)];
    const found = judgedByPython(cases);
    expect(found).toHaveLength(COUNT);
    cases.forEach(({ message, violations, contract }, at) => {
      expect({ message, contract, violations: found[at] }).toEqual({ message, contract, violations });
    });
    const invalid = cases.filter(({ violations }) => violations.length > 0).length;
    expect(invalid).toBeGreaterThan(COUNT / 4);
    expect(invalid).toBeLessThan(COUNT * 0.9);
  },
);

import { spawn } from "node:child_process";

/** Under `.ci/run` unit tests are counted, too. */
const counting = "--reporter=./script/closing-line-reporter.ts";

/** The fast gate: every part runs at once, and each failure prints the command that repairs it. */
const parts = [
  { name: "contracts", command: "buf lint", repair: "edit proto/ as told" },
  { name: "style", command: "biome ci --error-on-warnings .", repair: "npm run fix" },
  { name: "types", command: "tsc -b", repair: "edit as told" },
  { name: "dead code", command: "knip --no-progress --no-config-hints", repair: "remove what nothing uses" },
  {
    name: "unit tests",
    command: `vitest run --project unit --reporter=dot ${process.env.HMS_TEST_COUNTS ? counting : ""}`,
    repair: "edit as told",
  },
];

interface Outcome {
  name: string;
  code: number;
  output: string;
  seconds: number;
  repair: string;
}

function run(part: (typeof parts)[number]): Promise<Outcome> {
  const started = Date.now();
  return new Promise((resolve) => {
    const child = spawn(part.command, { shell: true, env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" } });
    let output = "";
    child.stdout.on("data", (data) => {
      output += data;
    });
    child.stderr.on("data", (data) => {
      output += data;
    });
    child.on("close", (code) => {
      const seconds = (Date.now() - started) / 1000;
      resolve({ name: part.name, code: code ?? 1, output, seconds, repair: part.repair });
    });
  });
}

const outcomes = await Promise.all(parts.map(run));
for (const { name, code, output, seconds, repair } of outcomes) {
  const mark = code === 0 ? "✓" : "✗";
  process.stdout.write(`${mark} ${name} (${seconds.toFixed(1)} s)\n`);
  if (code !== 0) process.stdout.write(`${output.trimEnd()}\n  → ${repair}\n`);
}
process.exitCode = outcomes.some((outcome) => outcome.code !== 0) ? 1 : 0;

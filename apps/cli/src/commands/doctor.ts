import type { Invocation } from "../command-spec.ts";
import { examine } from "../doctor/checks.ts";
import { ExitCode } from "../exit-code.ts";

const marks = { ok: "✓", warning: "!", problem: "✗" } as const;

/** Checks machine and platform; exit code 1 if something does not work. */
export async function run({ globals, output }: Invocation): Promise<number> {
  const findings = await examine(globals);
  const { paint } = output;
  const colours = { ok: paint.good, warning: paint.warn, problem: paint.bad };
  if (output.json) {
    output.document(findings);
  } else {
    for (const found of findings) {
      const { check, level, finding } = found;
      output.result(`${colours[level](marks[level])} ${check}: ${finding}`);
      if (found.level !== "ok") output.result(`    → ${found.remedy}`);
    }
  }
  return findings.some(({ level }) => level === "problem") ? ExitCode.ERROR : ExitCode.OK;
}

import { readdirSync } from "node:fs";
import type { Bench, BenchResult } from "./support/bench.ts";

/** Runs a bench: `npm run bench -- NAME [--quick] [--json]`. Benches are the files beside this one. */
async function main(args: readonly string[]): Promise<number> {
  const names = readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith(".ts") && file !== "main.ts")
    .map((file) => file.slice(0, -3));
  const flags = args.filter((arg) => arg.startsWith("--"));
  const [name, ...rest] = args.filter((arg) => !arg.startsWith("--"));
  const unknown = flags.filter((flag) => flag !== "--quick" && flag !== "--json");
  if (name === undefined || !names.includes(name) || rest.length > 0 || unknown.length > 0) {
    process.stderr.write(`Usage: npm run bench -- NAME [--quick] [--json]\nNAME is one of: ${names.join(", ")}\n`);
    return 2;
  }
  const { run } = (await import(`./${name}.ts`)) as { run: Bench };
  const result = await run({ quick: flags.includes("--quick") });
  process.stdout.write(flags.includes("--json") ? `${JSON.stringify({ bench: name, ...result })}\n` : asText(result));
  return 0;
}

function asText({ figures, ratios, versions }: BenchResult): string {
  const section = (title: string, rows: Record<string, number | string>) =>
    [title, ...Object.entries(rows).map(([key, value]) => `  ${key.padEnd(44)} ${value}`), ""].join("\n");
  return section("Ratios", ratios) + section("Figures", figures) + section("Versions", versions);
}

process.exitCode = await main(process.argv.slice(2));

import { join } from "node:path";
import { readContract } from "@hms/descriptors";
import { HmsError } from "@hms/kernel";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { contractsInFile } from "../ffi/contract-file.ts";
import { askedService, loadContract } from "../ffi/service-contract.ts";
import { type ContractCode, contractCode } from "../generate/contract-code.ts";
import { type GeneratedFile, writeGenerated } from "../generate/generated-file.ts";
import { pythonCode, pythonFileName } from "../generate/python-code.ts";
import { typescriptCode, typescriptFileName } from "../generate/typescript-code.ts";

const LANGUAGES: Record<string, (code: ContractCode) => { name: string; text: string }> = {
  ts: (code) => ({ name: typescriptFileName(code), text: typescriptCode(code) }),
  python: (code) => ({ name: pythonFileName(code), text: pythonCode(code) }),
};

/** Writes typed code for services, from the contracts in the registry or in a file. */
export async function run(invocation: Invocation): Promise<number> {
  const { options, output } = invocation;
  const generate = LANGUAGES[String(options.lang ?? "")];
  if (generate === undefined) {
    throw new HmsError("INVALID_ARGUMENT", `--lang is "${options.lang ?? ""}": write ts or python.`);
  }
  const folder = typeof options.out === "string" ? options.out : ".";
  const codes = typeof options.from === "string" ? fromFile(invocation, options.from) : await fromRegistry(invocation);
  const files = codes.map((code): GeneratedFile => {
    const { name, text } = generate(code);
    return { path: join(folder, name), text };
  });
  const changed = new Set(writeGenerated(files));
  if (output.json) output.document(files.map(({ path }) => ({ path, changed: changed.has(path) })));
  for (const { path } of files) {
    if (!output.json) output.result(path);
    if (!changed.has(path)) output.note(`${path} was so already.`);
  }
  return ExitCode.OK;
}

/** "hms.cdf.debate@v2" is as good as "hms.cdf.debate.v2". */
const askedOf = (word: string, environment: string) => askedService(word.replace("@", "."), environment);

async function fromRegistry({ args, globals, session, signal }: Invocation): Promise<ContractCode[]> {
  if (args.length === 0) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      "Name the services to generate code for (hms-sys ffi list), or --from FILE.",
    );
  }
  const all = args.map((word) => askedOf(word, globals.environment));
  return Promise.all(
    all.map(async (asked) => contractCode(asked, await loadContract(session().registry, asked, { signal }))),
  );
}

function fromFile({ args, globals }: Invocation, file: string): ContractCode[] {
  const { set, services } = contractsInFile(file);
  const wanted = args.length === 0 ? services : args.map((word) => askedOf(word, globals.environment));
  const readings = wanted.map((asked) => ({
    asked,
    reading: readEither(set, `${asked.serviceId}.${asked.version}`, asked.serviceId),
  }));
  const problems = readings.flatMap(({ reading }) => ("problem" in reading ? [reading.problem] : []));
  if (problems.length > 0) throw new HmsError("INVALID_ARGUMENT", `${file} ${problems.join(` ${file} `)}`);
  return readings.flatMap(({ asked, reading }) =>
    "contract" in reading ? [contractCode(asked, reading.contract)] : [],
  );
}

/** A package that names no version is version 1 of itself. */
function readEither(set: Uint8Array, versioned: string, plain: string): ReturnType<typeof readContract> {
  const reading = readContract(set, versioned);
  if (!("problem" in reading)) return reading;
  const other = readContract(set, plain);
  return "problem" in other ? reading : other;
}

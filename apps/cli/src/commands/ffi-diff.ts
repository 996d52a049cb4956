import { readFileSync } from "node:fs";
import { toJson } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { askedService } from "../ffi/service-contract.ts";

/** Says what a new contract would change. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const [service = "", file = ""] = args;
  const request = { ...askedService(service, globals.environment), fileDescriptorSet: read(file) };
  const { differences, known } = await session().registry.checkContract(request, { signal });
  if (output.json)
    output.document({ known, differences: differences.map((one) => toJson(registry.ContractDifferenceSchema, one)) });
  else {
    for (const { breaking, rule, subject, description } of differences) {
      output.result(`${breaking ? output.paint.bad("breaks") : "changes"} ${subject} (${rule}): ${description}`);
    }
    if (!known) output.note(`${service} has no contract yet; this would be its first.`);
    else if (differences.length === 0) output.note("Nothing differs.");
  }
  return differences.length > 0 ? ExitCode.PLAN_HAS_CHANGES : ExitCode.OK;
}

function read(file: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(file));
  } catch (cause) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${file} cannot be read: ${(cause as Error).message}. Build it: buf build -o set.binpb`,
      {
        cause,
      },
    );
  }
}

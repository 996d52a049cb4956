import { toJson } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { type ContractAddition, contractAdditions, readDescriptorSet } from "@hms/descriptors";
import type { CallOptions } from "@hms/kernel";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { readContractFile } from "../ffi/contract-file.ts";
import { type Asked, askedService } from "../ffi/service-contract.ts";
import type { Session } from "../session.ts";

/** Says what a new contract would change, and whom it would break. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const [service = "", file = ""] = args;
  const request = { ...askedService(service, globals.environment), fileDescriptorSet: readContractFile(file) };
  const { differences, known } = await session().registry.checkContract(request, { signal });
  const added = known ? await additions(session(), request, { signal }) : [];
  if (output.json) {
    const told = differences.map((one) => toJson(registry.ContractDifferenceSchema, one, { alwaysEmitImplicit: true }));
    output.document({ known, differences: told, additions: added });
  } else {
    for (const { breaking, rule, subject, description } of differences) {
      output.result(`${breaking ? output.paint.bad("breaks") : "changes"} ${subject} (${rule}): ${description}`);
    }
    for (const { kind, subject } of added) output.result(`${output.paint.good("adds")} the ${kind} ${subject}`);
    if (!known) output.note(`${service} has no contract yet; this would be its first.`);
    else if (differences.length + added.length === 0) output.note("Nothing differs.");
  }
  return differences.length + added.length > 0 ? ExitCode.PLAN_HAS_CHANGES : ExitCode.OK;
}

/** What is new and breaks nobody, which the registry has no reason to tell. */
async function additions(
  session: Session,
  { fileDescriptorSet, ...asked }: Asked & { fileDescriptorSet: Uint8Array },
  options: CallOptions,
): Promise<ContractAddition[]> {
  const { fileDescriptorSet: stored } = await session.registry.getContract(asked, options);
  return contractAdditions(readDescriptorSet(stored), readDescriptorSet(fileDescriptorSet));
}

import type { DescMessage, DescService } from "@bufbuild/protobuf";
import { type Contract, readContract, type ServiceName, serviceNameOf } from "@hms/descriptors";
import { type KnownMethod, ServiceMethods } from "@hms/direct-calls";
import { type CallOptions, HmsError } from "@hms/kernel";
import type { Session } from "../session.ts";

/** A service version in an environment. */
export interface Asked extends ServiceName {
  readonly environment: string;
}

/** What a service offers. */
export interface Offer {
  readonly asked: Asked;
  readonly services: readonly DescService[];
  readonly methods: ServiceMethods;
  readonly types: { getMessage(typeName: string): DescMessage | undefined };
}

/** The service that a word names: "hms.cdf.debate", "hms.cdf.debate.v2", "hms.cdf.debate.v2.DebateService". */
export function askedService(word: string, environment: string): Asked {
  return { ...serviceNameOf(word.replace(/(\.v\d+)\.[A-Z]\w*$/, "$1")), environment };
}

/**
 * A service's contract as it is registered.
 * @throws HmsError NOT_FOUND with the nearest names, INTERNAL if the contract cannot be read
 */
export async function loadContract(
  registry: Session["registry"],
  asked: Asked,
  options: CallOptions,
): Promise<Contract & { contractDigest: string }> {
  const { fileDescriptorSet, contractDigest } = await registry.getContract(asked, options);
  const reading = readContract(fileDescriptorSet, `${asked.serviceId}.${asked.version}`);
  // A package that names no version is registered as version 1 of itself.
  const usable = "problem" in reading ? readContract(fileDescriptorSet, asked.serviceId) : reading;
  if ("problem" in usable) {
    throw new HmsError("INTERNAL", `The contract of ${asked.serviceId} ${asked.version} ${usable.problem}`);
  }
  return { ...usable.contract, contractDigest };
}

/**
 * What a service offers by its contract.
 * @throws HmsError as `loadContract` does
 */
export async function loadOffer({ registry }: Session, asked: Asked, options: CallOptions): Promise<Offer> {
  const { services, files, contractDigest } = await loadContract(registry, asked, options);
  const label = `${asked.serviceId} ${asked.version}`;
  const methods = new ServiceMethods({ digest: contractDigest, services, files }, label);
  return { asked, services, types: files, methods };
}

/** One method of a service. @throws HmsError as `loadOffer` does, UNIMPLEMENTED with the nearest method */
export async function loadMethod(
  session: Session,
  { asked, name }: { asked: Asked; name: string },
  options: CallOptions,
): Promise<KnownMethod> {
  return (await loadOffer(session, asked, options)).methods.find(name);
}

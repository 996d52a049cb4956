import type { FileRegistry } from "@bufbuild/protobuf";
import type { registry } from "@hms/contracts";
import { contractDigest, contractOfSchemas, descriptorSetOf, readContract, type SchemaNote } from "@hms/descriptors";
import { type FieldViolation, HmsError } from "@hms/kernel";
import type { ServiceKey } from "./service-key.ts";

/** A contract, ready to be compared and stored. */
export interface ReadyContract {
  readonly files: FileRegistry;
  readonly fileDescriptorSet: Uint8Array;
  /** Identifies what it says: 64 hexadecimal digits. */
  readonly digest: string;
  /** What it does not say of the schemas it was made from. */
  readonly notes: readonly SchemaNote[];
}

/** A contract as somebody offers it: one made from schemas asks for the one before and keeps its numbers. */
export type ContractOffer = (previous: () => FileRegistry | undefined) => ReadyContract;

/** The part of a request that offers a contract. */
export interface OfferRequest {
  readonly fileDescriptorSet: Uint8Array;
  readonly methodSchemas: readonly registry.MethodSchema[];
}

/** An offer, none, or what is wrong with it. */
export type OfferReading = { readonly offer: ContractOffer | undefined } | { readonly violations: FieldViolation[] };

function ready(files: FileRegistry, packageName: string, notes: readonly SchemaNote[] = []): ReadyContract {
  const own = [...files.files].filter(({ proto }) => proto.package === packageName);
  return { files, fileDescriptorSet: descriptorSetOf(own), digest: contractDigest(files, packageName), notes };
}

/** Offers what files say of a package. */
export function offerOf(files: FileRegistry, packageName: string): ContractOffer {
  const contract = ready(files, packageName);
  return () => contract;
}

function readSet(bytes: Uint8Array, packageName: string): OfferReading {
  const reading = readContract(bytes, packageName);
  if ("problem" in reading) return { violations: [{ field: "file_descriptor_set", description: reading.problem }] };
  return { offer: offerOf(reading.contract.files, packageName) };
}

function readSchemas(methods: readonly registry.MethodSchema[], { serviceId, version }: ServiceKey): OfferReading {
  const offer: ContractOffer = (previous) => {
    const { files, notes } = contractOfSchemas({ serviceId, version, methods, previous: previous() });
    return ready(files, `${serviceId}.${version}`, notes);
  };
  try {
    offer(() => undefined);
    return { offer };
  } catch (error) {
    const violations = HmsError.from(error).details.fieldViolations;
    if (violations === undefined) throw error;
    return { violations };
  }
}

/** Reads the contract that a request offers for a service version. */
export function readOffer({ fileDescriptorSet, methodSchemas }: OfferRequest, key: ServiceKey): OfferReading {
  if (fileDescriptorSet.length > 0 && methodSchemas.length > 0) {
    const description = "stands beside file_descriptor_set; send one of the two.";
    return { violations: [{ field: "method_schemas", description }] };
  }
  if (methodSchemas.length > 0) return readSchemas(methodSchemas, key);
  if (fileDescriptorSet.length === 0) return { offer: undefined };
  return readSet(fileDescriptorSet, `${key.serviceId}.${key.version}`);
}

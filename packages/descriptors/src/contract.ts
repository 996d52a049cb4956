import type { DescService, FileRegistry } from "@bufbuild/protobuf";
import { HmsError } from "@hms/kernel";
import { readDescriptorSet } from "./descriptor-set.ts";

const LARGEST_BYTES = 2 * 1024 * 1024;

/** What a service version promises. */
export interface Contract {
  /** The package with its version, "hms.cdf.debate.v1". */
  readonly packageName: string;
  /** Everything in the set, imports too. */
  readonly files: FileRegistry;
  /** The services of the package; at least one. */
  readonly services: readonly DescService[];
}

/** A contract, or what is wrong with it as a clause that completes "file_descriptor_set: …". */
export type ContractReading = { readonly contract: Contract } | { readonly problem: string };

/** The services that files define in a package. */
export function servicesOf(files: FileRegistry, packageName: string): DescService[] {
  return [...files.files].filter(({ proto }) => proto.package === packageName).flatMap(({ services }) => services);
}

/** Reads a serialized FileDescriptorSet, at most 2 MiB, as the contract of a package. */
export function readContract(bytes: Uint8Array, packageName: string): ContractReading {
  if (bytes.length > LARGEST_BYTES) {
    return { problem: `is larger than ${LARGEST_BYTES} bytes; leave out what the service does not use.` };
  }
  try {
    const files = readDescriptorSet(bytes);
    const services = servicesOf(files, packageName);
    if (services.length > 0) return { contract: { packageName, files, services } };
    const advice = "register what the set contains, or send the other set.";
    return { problem: `has no service in the package ${packageName}; ${advice}` };
  } catch (error) {
    const { message } = HmsError.from(error);
    return { problem: `is no complete FileDescriptorSet (${message}); build it with imports: buf build -o set.binpb.` };
  }
}

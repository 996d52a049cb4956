import { createRegistry, type DescFile, type Registry } from "@bufbuild/protobuf";
import { errorDetails, ffiErrors, status } from "@hms/contracts";

/** What any google.rpc.Status may hold, also one that is a field of a contract which says nothing of it. */
const ERROR_DETAILS = [
  errorDetails.file_google_rpc_error_details,
  ffiErrors.file_hms_ffi_v1_errors,
  status.file_google_rpc_status,
];

const registries = new WeakMap<DescFile, Registry>();

/**
 * The types that a google.protobuf.Any may hold in JSON: those of the contract's file, of all it imports, and the details
 * of errors.
 */
export function anyTypesOf(file: DescFile): Registry {
  let registry = registries.get(file);
  if (registry === undefined) {
    const files = new Set<DescFile>([file]);
    for (const each of files) for (const imported of each.dependencies) files.add(imported);
    registry = createRegistry(...ERROR_DETAILS, ...files);
    registries.set(file, registry);
  }
  return registry;
}

import { readFileSync } from "node:fs";
import { createRegistry, fromJsonString, type Registry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ffiOptions, httpAnnotations, validate } from "@hms/contracts";
import { readDescriptorSet, type ServiceName, serviceNameOf, writeDescriptorSet } from "@hms/descriptors";
import { HmsError } from "@hms/kernel";

/** The bytes of a FileDescriptorSet. @throws HmsError INVALID_ARGUMENT if the file cannot be read */
export function readContractFile(file: string): Uint8Array<ArrayBuffer> {
  try {
    const bytes = new Uint8Array(readFileSync(file));
    return isJson(bytes) ? fromJsonForm(bytes) : bytes;
  } catch (cause) {
    const why = (cause as Error).message;
    const message = `${file} cannot be read: ${why}. Build it: buf build -o set.binpb`;
    throw new HmsError("INVALID_ARGUMENT", message, { cause });
  }
}

/** As `buf build -o set.json` writes it; a binary set never begins with a brace, which would be a group's end. */
function isJson(bytes: Uint8Array): boolean {
  return bytes[0] === "{".charCodeAt(0);
}

function fromJsonForm(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  return writeDescriptorSet(
    fromJsonString(FileDescriptorSetSchema, text, { registry: knownOptions(), ignoreUnknownFields: true }),
  );
}

/** Options of contracts that we read; those of others are left out. */
function knownOptions(): Registry {
  return createRegistry(
    ffiOptions.file_hms_ffi_v1_options,
    httpAnnotations.file_google_api_annotations,
    validate.file_buf_validate_validate,
  );
}

/**
 * The contracts in a FileDescriptorSet, by the packages that have services.
 * @throws HmsError INVALID_ARGUMENT if it cannot be read or has none
 */
export function contractsInFile(file: string): { set: Uint8Array; services: ServiceName[] } {
  const set = readContractFile(file);
  const packages = packagesOf(set, file).filter((name) => !/^(?:google|grpc|buf)\./.test(name));
  if (packages.length === 0)
    throw new HmsError("INVALID_ARGUMENT", `${file} has no service: build it from files with one.`);
  return { set, services: packages.map((name) => serviceNameOf(name)) };
}

function packagesOf(set: Uint8Array, file: string): string[] {
  try {
    const files = [...readDescriptorSet(set).files];
    return [...new Set(files.filter(({ services }) => services.length > 0).map(({ proto }) => proto.package))].sort();
  } catch (cause) {
    const why = HmsError.from(cause).message;
    const message = `${file} is no complete FileDescriptorSet (${why}); build it with imports: buf build -o set.binpb.`;
    throw new HmsError("INVALID_ARGUMENT", message, { cause });
  }
}

import { readFileSync } from "node:fs";
import { HmsError } from "@hms/kernel";

/** The bytes of a FileDescriptorSet. @throws HmsError INVALID_ARGUMENT if the file cannot be read */
export function readContractFile(file: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(file));
  } catch (cause) {
    const why = (cause as Error).message;
    const message = `${file} cannot be read: ${why}. Build it: buf build -o set.binpb`;
    throw new HmsError("INVALID_ARGUMENT", message, { cause });
  }
}

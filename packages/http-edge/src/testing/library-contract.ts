import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFileRegistry, type DescService, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const root = join(import.meta.dirname, "../../../..");

/** Compiles the library's contract beside the product's, comments included, as an SDK does before it registers. */
function compileLibrary(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "hms-edge-"));
  try {
    for (const vendored of ["google", "buf", "hms"]) {
      cpSync(join(root, "proto", vendored), join(folder, vendored), { recursive: true });
    }
    cpSync(join(import.meta.dirname, "library.proto"), join(folder, "hms/library/v1/library.proto"));
    const buf = join(root, "node_modules/.bin/buf");
    const bytes = execFileSync(buf, ["build", "--path", "hms/library", "-o", "-"], { cwd: folder, maxBuffer: 1 << 26 });
    return new Uint8Array(bytes);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The library's contract as it is registered. */
export const libraryDescriptorSet = compileLibrary();

const registry: FileRegistry = createFileRegistry(fromBinary(FileDescriptorSetSchema, libraryDescriptorSet));

/** A service of the library's contract. */
export function libraryService(name: "LibraryService" | "RivalService"): DescService {
  return registry.getService(`hms.library.v1.${name}`) as DescService;
}

import { clone } from "@bufbuild/protobuf";
import { type DescriptorProto, type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { wellKnownFile, wellKnownFiles } from "./well-known-files.ts";

const STANDARD_PACKAGE = "google.protobuf";

function scopeOf(parts: readonly string[]): string {
  return parts.filter((part) => part !== "").join(".");
}

/** Every type that files define, and where. */
function typesOf(files: readonly FileDescriptorProto[]): Map<string, FileDescriptorProto> {
  const homes = new Map<string, FileDescriptorProto>();
  const addMessage = (file: FileDescriptorProto, scope: string, message: DescriptorProto) => {
    const name = scopeOf([scope, message.name]);
    homes.set(name, file);
    for (const one of message.enumType) homes.set(`${name}.${one.name}`, file);
    for (const one of message.nestedType) addMessage(file, name, one);
  };
  for (const file of files) {
    for (const one of file.enumType) homes.set(scopeOf([file.package, one.name]), file);
    for (const one of file.messageType) addMessage(file, file.package, one);
  }
  return homes;
}

/** Finds what a name means in a scope: the innermost that has it. */
function resolved(name: string, scope: string, homes: ReadonlyMap<string, FileDescriptorProto>): string | undefined {
  if (name.startsWith(".")) return homes.has(name.slice(1)) ? name.slice(1) : undefined;
  for (let around = scope; ; around = around.slice(0, Math.max(0, around.lastIndexOf(".")))) {
    const full = scopeOf([around, name]);
    if (homes.has(full)) return full;
    if (around === "") return undefined;
  }
}

/** Makes a file name types in full and import what it uses. */
function repairFile(file: FileDescriptorProto, homes: ReadonlyMap<string, FileDescriptorProto>): void {
  const imports = new Set(file.dependency);
  const repairedName = (name: string, scope: string): string => {
    const full = name === "" ? undefined : resolved(name, scope, homes);
    if (full === undefined) return name;
    const home = homes.get(full)?.name;
    if (home !== undefined && home !== file.name) imports.add(home);
    return `.${full}`;
  };
  const repairMessage = (message: DescriptorProto, scope: string) => {
    const name = scopeOf([scope, message.name]);
    for (const field of [...message.field, ...message.extension]) {
      field.typeName = repairedName(field.typeName, name);
      if (field.extendee !== "") field.extendee = repairedName(field.extendee, name);
    }
    for (const nested of message.nestedType) repairMessage(nested, name);
  };
  for (const message of file.messageType) repairMessage(message, file.package);
  for (const extension of file.extension) {
    extension.typeName = repairedName(extension.typeName, file.package);
    extension.extendee = repairedName(extension.extendee, file.package);
  }
  for (const method of file.service.flatMap((service) => service.method)) {
    method.inputType = repairedName(method.inputType, file.package);
    method.outputType = repairedName(method.outputType, file.package);
  }
  file.dependency = [...imports];
}

/**
 * Repairs files that were not written by a compiler: protobufjs, behind the reflection of gRPC for Node, names types
 * relative to their scope, leaves imports out, and makes up files of its own for google.protobuf.
 */
export function repairFiles(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const madeUp = ({ name, package: packageName }: FileDescriptorProto) =>
    packageName === STANDARD_PACKAGE && wellKnownFile(name) === undefined;
  const own = files.filter((file) => !madeUp(file) && wellKnownFile(file.name) === undefined);
  const copies = own.map((file) => clone(FileDescriptorProtoSchema, file));
  const homes = typesOf([...wellKnownFiles, ...copies]);
  for (const copy of copies) repairFile(copy, homes);
  return [...wellKnownFiles, ...copies];
}

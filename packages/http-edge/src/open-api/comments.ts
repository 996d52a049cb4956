import type { AnyDesc, DescFile } from "@bufbuild/protobuf";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { contractComments } from "@hms/contracts/comments";
import { commentsOf } from "@hms/descriptors";

const known = new WeakMap<FileDescriptorProto, ReadonlyMap<string, string>>();

/**
 * What a contract says above a declaration; empty if its descriptor set was made without source information. The
 * product's own contracts are compiled without it; their comments are kept beside them.
 */
export function commentOf(desc: Exclude<AnyDesc, DescFile | { kind: "extension" }>): string {
  const { proto } = desc.kind === "oneof" || desc.kind === "field" ? desc.parent.file : fileOf(desc);
  let comments = known.get(proto);
  if (comments === undefined) {
    comments = commentsOf(proto);
    known.set(proto, comments);
  }
  const name = nameOf(desc);
  return comments.get(name) ?? contractComments[name] ?? "";
}

type Declared = Exclude<AnyDesc, DescFile | { kind: "extension" }>;

function fileOf(desc: Declared): DescFile {
  if ("file" in desc) return desc.file;
  return desc.parent.file;
}

function nameOf(desc: Declared): string {
  return "typeName" in desc ? desc.typeName : `${desc.parent.typeName}.${desc.name}`;
}

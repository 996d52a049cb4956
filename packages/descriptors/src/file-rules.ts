import { create } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileOptions_OptimizeMode, FileOptionsSchema } from "@bufbuild/protobuf/wkt";
import type { BreakingRule, Finding } from "./breaking-rule.ts";
import type { ContractIndex } from "./contract-index.ts";
import { syntaxOf } from "./resolved-features.ts";

/** File options that generated code depends on. */
const fileOptions = [
  ["FILE_SAME_CC_ENABLE_ARENAS", "ccEnableArenas"],
  ["FILE_SAME_CC_GENERIC_SERVICES", "ccGenericServices"],
  ["FILE_SAME_CSHARP_NAMESPACE", "csharpNamespace"],
  ["FILE_SAME_GO_PACKAGE", "goPackage"],
  ["FILE_SAME_JAVA_GENERIC_SERVICES", "javaGenericServices"],
  ["FILE_SAME_JAVA_MULTIPLE_FILES", "javaMultipleFiles"],
  ["FILE_SAME_JAVA_OUTER_CLASSNAME", "javaOuterClassname"],
  ["FILE_SAME_JAVA_PACKAGE", "javaPackage"],
  ["FILE_SAME_OBJC_CLASS_PREFIX", "objcClassPrefix"],
  ["FILE_SAME_OPTIMIZE_FOR", "optimizeFor"],
  ["FILE_SAME_PHP_CLASS_PREFIX", "phpClassPrefix"],
  ["FILE_SAME_PHP_METADATA_NAMESPACE", "phpMetadataNamespace"],
  ["FILE_SAME_PHP_NAMESPACE", "phpNamespace"],
  ["FILE_SAME_PY_GENERIC_SERVICES", "pyGenericServices"],
  ["FILE_SAME_RUBY_PACKAGE", "rubyPackage"],
  ["FILE_SAME_SWIFT_PREFIX", "swiftPrefix"],
] as const satisfies [BreakingRule, keyof typeof FileOptionsSchema.field][];

const noOptions = create(FileOptionsSchema);

function optionText(file: FileDescriptorProto, option: (typeof fileOptions)[number][1]): string {
  const value = (file.options ?? noOptions)[option];
  return typeof value === "number" ? (FileOptions_OptimizeMode[value] ?? "") : `"${value}"`;
}

function* fileChanges(
  before: FileDescriptorProto,
  after: FileDescriptorProto,
): Generator<readonly [BreakingRule, string]> {
  if (before.package !== after.package) {
    yield ["FILE_SAME_PACKAGE", `Its package was ${before.package} and is now ${after.package}.`];
  }
  const [oldSyntax, newSyntax] = [syntaxOf(before), syntaxOf(after)];
  if (oldSyntax !== newSyntax) yield ["FILE_SAME_SYNTAX", `Its syntax was ${oldSyntax} and is now ${newSyntax}.`];
  for (const [rule, option] of fileOptions) {
    const [old, now] = [optionText(before, option), optionText(after, option)];
    if (old !== now) yield [rule, `Its option ${FileOptionsSchema.field[option].name} was ${old} and is now ${now}.`];
  }
}

interface PackageMember {
  name: string;
  file: FileDescriptorProto;
}

const removable = [
  ["PACKAGE_MESSAGE_NO_DELETE", "message", "messages"],
  ["PACKAGE_ENUM_NO_DELETE", "enum", "enums"],
  ["PACKAGE_SERVICE_NO_DELETE", "service", "services"],
] as const;

function* removals(
  oldIndex: ContractIndex,
  newIndex: ContractIndex,
): Generator<readonly [BreakingRule, PackageMember, string]> {
  for (const [rule, kind, table] of removable) {
    for (const [name, member] of oldIndex[table]) {
      if (!newIndex[table].has(name)) yield [rule, member, `The ${kind} was removed.`];
    }
  }
  const extensions = new Set([...newIndex.extensions.values()].map(({ name }) => name));
  for (const member of oldIndex.extensions.values()) {
    if (!extensions.has(member.name)) yield ["PACKAGE_EXTENSION_NO_DELETE", member, "The extension was removed."];
  }
}

/** What changed in files, and what went from packages that are still there. */
export function* fileFindings(oldIndex: ContractIndex, newIndex: ContractIndex): Generator<Finding> {
  for (const [path, before] of oldIndex.files) {
    const after = newIndex.files.get(path);
    if (after === undefined) continue;
    for (const [rule, change] of fileChanges(before, after)) yield { rule, file: path, subject: path, change };
  }
  for (const [rule, member, change] of removals(oldIndex, newIndex)) {
    const { name: file, package: packageName } = member.file;
    if (newIndex.packages.has(packageName)) yield { rule, file, subject: member.name, change };
  }
  for (const name of oldIndex.packages) {
    const file = [...oldIndex.files.values()].find((one) => one.package === name)?.name ?? "";
    const change = "The package was removed.";
    if (!newIndex.packages.has(name)) yield { rule: "PACKAGE_NO_DELETE", file, subject: name, change };
  }
}

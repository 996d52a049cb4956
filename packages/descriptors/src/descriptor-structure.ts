import type {
  DescriptorProto,
  EnumDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
  FileDescriptorSet,
  ServiceDescriptorProto,
} from "@bufbuild/protobuf/wkt";

const HIGHEST_NUMBER = 536_870_911;
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Collects the full names of a set; each may stand for one thing only. */
class Names {
  readonly #known = new Set<string>();

  /** What is wrong with one more name. */
  add(scope: string, name: string): string | undefined {
    if (!IDENTIFIER.test(name)) return `"${name.slice(0, 80)}" in ${scope || "a file"} is no name`;
    const full = scope === "" ? name : `${scope}.${name}`;
    if (this.#known.has(full)) return `${full} is defined twice`;
    this.#known.add(full);
    return undefined;
  }
}

function fieldProblem(scope: string, fields: readonly FieldDescriptorProto[]): string | undefined {
  const numbers = new Set<number>();
  for (const { name, number } of fields) {
    if (number < 1 || number > HIGHEST_NUMBER) return `${scope}.${name} has the impossible number ${number}`;
    if (numbers.has(number)) return `two fields of ${scope} have the number ${number}`;
    numbers.add(number);
  }
  return undefined;
}

function firstProblem<T>(items: readonly T[], check: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const problem = check(item);
    if (problem) return problem;
  }
  return undefined;
}

function enumProblem(scope: string, { name, value }: EnumDescriptorProto, names: Names): string | undefined {
  if (value.length === 0) return `the enum ${scope}.${name} has no values`;
  return names.add(scope, name) ?? firstProblem(value, (one) => names.add(scope, one.name));
}

function messageProblem(scope: string, message: DescriptorProto, names: Names): string | undefined {
  const full = scope === "" ? message.name : `${scope}.${message.name}`;
  return (
    names.add(scope, message.name) ??
    fieldProblem(full, message.field) ??
    firstProblem(message.field, ({ name }) => names.add(full, name)) ??
    firstProblem(message.oneofDecl, ({ name }) => names.add(full, name)) ??
    firstProblem(message.extension, ({ name }) => names.add(full, name)) ??
    firstProblem(message.enumType, (one) => enumProblem(full, one, names)) ??
    firstProblem(message.nestedType, (one) => messageProblem(full, one, names))
  );
}

function serviceProblem(scope: string, { name, method }: ServiceDescriptorProto, names: Names): string | undefined {
  const full = scope === "" ? name : `${scope}.${name}`;
  return names.add(scope, name) ?? firstProblem(method, (one) => names.add(full, one.name));
}

function fileProblem(file: FileDescriptorProto, names: Names): string | undefined {
  const scope = file.package;
  const isNamed = scope === "" || scope.split(".").every((part) => IDENTIFIER.test(part));
  if (!isNamed) return `the package ${JSON.stringify(scope.slice(0, 80))} of a file is no name`;
  return (
    firstProblem(file.messageType, (one) => messageProblem(scope, one, names)) ??
    firstProblem(file.enumType, (one) => enumProblem(scope, one, names)) ??
    firstProblem(file.extension, ({ name }) => names.add(scope, name)) ??
    firstProblem(file.service, (one) => serviceProblem(scope, one, names))
  );
}

/** How a set contradicts itself: names or numbers given twice, impossible numbers, enums without values; a clause. */
export function structureProblem(set: FileDescriptorSet): string | undefined {
  const names = new Names();
  const paths = new Set<string>();
  return firstProblem(set.file, (file) => {
    if (paths.has(file.name)) return `the file ${file.name} is in it twice`;
    paths.add(file.name);
    return fileProblem(file, names);
  });
}

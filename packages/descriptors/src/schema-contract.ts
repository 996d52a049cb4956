import { create, type FileRegistry } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  MethodOptions_IdempotencyLevel as Level,
  type MethodDescriptorProto,
  MethodDescriptorProtoSchema,
  MethodOptionsSchema,
  type ServiceDescriptorProto,
  ServiceDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { ffiOptions, type registry, validate } from "@hms/contracts";
import { type FieldViolation, HmsError } from "@hms/kernel";
import { servicesOf } from "./contract.ts";
import { ContractIndex, typeNameOf } from "./contract-index.ts";
import { registryOf } from "./descriptor-set.ts";
import { JsonSchema } from "./json-schema.ts";
import { commentsOf } from "./schema-comments.ts";
import { SchemaMessages, type SchemaNote } from "./schema-messages.ts";
import { pascalCase } from "./schema-naming.ts";
import { type SchemaShape, ShapeReader } from "./schema-shape.ts";
import { wellKnownFile } from "./well-known-files.ts";

const METHOD_NAME = /^[A-Z][A-Za-z0-9]{0,99}$/;
const MOST_METHODS = 500;
const STRUCT = "google.protobuf.Struct";

/** Methods that are described by JSON Schemas. */
export interface SchemaContractOptions {
  /** The package without its version, "hms.cdf.debate". */
  readonly serviceId: string;
  /** "v1". */
  readonly version: string;
  readonly methods: readonly registry.MethodSchema[];
  /** The contract before: names and numbers of what is in both are kept, what went is reserved. */
  readonly previous?: FileRegistry | undefined;
}

/** A contract made from schemas. */
export interface SchemaContract {
  readonly files: FileRegistry;
  /** What the contract does not say of the schemas, or says as "any value". */
  readonly notes: readonly SchemaNote[];
}

/** What the parts of one contract are made with. */
interface Making {
  readonly file: FileDescriptorProto;
  readonly previous: ContractIndex | undefined;
  readonly notes: SchemaNote[];
  readonly violations: FieldViolation[];
  readonly descriptions: Map<object, string>;
}

/** A message that stands for a schema that is no object with properties. */
function standIn({ kind }: SchemaShape): string {
  switch (kind) {
    case "list":
    case "any list":
      return "google.protobuf.ListValue";
    case "map":
    case "any object":
      return STRUCT;
    case "string":
    case "choice":
      return "google.protobuf.StringValue";
    case "boolean":
      return "google.protobuf.BoolValue";
    case "number":
    case "float":
      return "google.protobuf.DoubleValue";
    default:
      return "google.protobuf.Value";
  }
}

/** The type of a request or a response; its own message if the schema has properties. */
function typeOfSchema(text: string, { field, name }: { field: string; name: string }, making: Making): string {
  if (text.trim() === "") return STRUCT;
  const schema = JsonSchema.parse(text, field);
  const reader = new ShapeReader(schema);
  const shape = reader.shape(schema.rootNode);
  const fullName = `${making.file.package}.${name}`;
  let type = standIn(shape);
  if (shape.kind === "message") {
    const { previous, notes, descriptions } = making;
    const messages = new SchemaMessages({ reader, problems: schema.problems, previous, notes, descriptions });
    making.file.messageType.push(messages.root(shape, fullName));
    type = fullName;
  } else if (shape.kind === "anything" && shape.why === "") type = STRUCT;
  else if (shape.kind !== "any object" || shape.why !== "") {
    const why = "why" in shape && shape.why !== "" ? shape.why : "it is no object with properties";
    making.notes.push({ subject: fullName, text: `It is ${type}, because ${why}.` });
  }
  making.violations.push(...schema.problems.violations);
  return type;
}

function methodOf(schema: registry.MethodSchema, at: string, making: Making): MethodDescriptorProto {
  const { name, description, clientStreaming, serverStreaming, idempotency } = schema;
  const input = typeOfSchema(schema.inputSchema, { field: `${at}.input_schema`, name: `${name}Request` }, making);
  const output = typeOfSchema(schema.outputSchema, { field: `${at}.output_schema`, name: `${name}Response` }, making);
  const method = create(MethodDescriptorProtoSchema, { name, inputType: `.${input}`, outputType: `.${output}` });
  if (clientStreaming) method.clientStreaming = true;
  if (serverStreaming) method.serverStreaming = true;
  const { NO_SIDE_EFFECTS, IDEMPOTENT } = ffiOptions.Idempotency;
  const level = { [NO_SIDE_EFFECTS]: Level.NO_SIDE_EFFECTS, [IDEMPOTENT]: Level.IDEMPOTENT }[idempotency as number];
  if (level !== undefined) method.options = create(MethodOptionsSchema, { idempotencyLevel: level });
  if (description !== "") making.descriptions.set(method, description);
  return method;
}

function nameViolations(methods: readonly registry.MethodSchema[]): FieldViolation[] {
  if (methods.length > MOST_METHODS) {
    return [{ field: "method_schemas", description: `has more than ${MOST_METHODS} methods; split the service.` }];
  }
  const seen = new Set<string>();
  return methods.flatMap(({ name }, index) => {
    const field = `method_schemas[${index}].name`;
    if (!METHOD_NAME.test(name)) {
      return [
        { field, description: `"${name.slice(0, 80)}" is no method name; write it in PascalCase, "GetPatient".` },
      ];
    }
    if (seen.has(name)) return [{ field, description: `"${name}" is there twice; keep one.` }];
    seen.add(name);
    return [];
  });
}

/** What the service is called: as before, else for its id's last part: "DebateService" of "hms.cdf.debate". */
function serviceNameFor(serviceId: string, before: string | undefined): string {
  const own = pascalCase(serviceId.slice(serviceId.lastIndexOf(".") + 1));
  return before ?? (own.endsWith("Service") ? own : `${own}Service`);
}

function usesRules(message: DescriptorProto): boolean {
  const marked = [...message.field, ...message.oneofDecl].some(({ options }) => options !== undefined);
  return marked || message.nestedType.some(usesRules);
}

function typesOf(message: DescriptorProto): string[] {
  return [...message.field.map(({ typeName }) => typeName), ...message.nestedType.flatMap(typesOf)];
}

const homes: Record<string, string> = {
  Struct: "struct",
  Value: "struct",
  ListValue: "struct",
  Timestamp: "timestamp",
  StringValue: "wrappers",
  BoolValue: "wrappers",
  DoubleValue: "wrappers",
};

/** Files that a file needs, in the order in which they can be read. */
function importsOf(file: FileDescriptorProto, service: ServiceDescriptorProto): FileDescriptorProto[] {
  const inMethods = service.method.flatMap(({ inputType, outputType }) => [inputType, outputType]);
  const types = [...inMethods, ...file.messageType.flatMap(typesOf)].map(typeNameOf);
  const known = types.filter((type) => type.startsWith("google.protobuf.")).map((type) => homes[type.slice(16)]);
  const names = [...new Set(known)].sort().map((name) => `google/protobuf/${name}.proto`);
  const files = names.map(wellKnownFile).filter((one) => one !== undefined);
  return file.messageType.some(usesRules)
    ? [...files, ...withImports(validate.file_buf_validate_validate.proto)]
    : files;
}

function withImports(file: FileDescriptorProto): FileDescriptorProto[] {
  return [...file.dependency.map(wellKnownFile).filter((one) => one !== undefined), file];
}

/**
 * Makes the contract of a service whose methods are described by JSON Schemas (2020-12; references inside of a schema
 * only). Without schemas a method takes and answers google.protobuf.Struct. Fields are numbered in the order of their
 * names where no contract before says otherwise.
 * @throws HmsError INVALID_ARGUMENT with every problem of every schema.
 */
export function contractOfSchemas({ serviceId, version, methods, previous }: SchemaContractOptions): SchemaContract {
  const packageName = `${serviceId}.${version}`;
  const [before] = previous ? servicesOf(previous, packageName) : [];
  const path = `${packageName.replaceAll(".", "/")}/${serviceId.slice(serviceId.lastIndexOf(".") + 1)}.proto`;
  const name = before?.file.proto.name ?? path;
  const making: Making = {
    file: create(FileDescriptorProtoSchema, { name, package: packageName, syntax: "proto3" }),
    previous: previous && new ContractIndex(previous),
    notes: [],
    violations: nameViolations(methods),
    descriptions: new Map(),
  };
  if (making.violations.length === 0) {
    const service = create(ServiceDescriptorProtoSchema, { name: serviceNameFor(serviceId, before?.name) });
    service.method.push(...methods.map((method, index) => methodOf(method, `method_schemas[${index}]`, making)));
    making.file.service.push(service);
  }
  if (making.violations.length > 0) throw unusable(making.violations);
  return { files: registryOf(finished(making)), notes: making.notes };
}

function finished({ file, descriptions }: Making): FileDescriptorProto[] {
  const [service] = file.service;
  const imports = service ? importsOf(file, service) : [];
  const unique = [...new Map(imports.map((one) => [one.name, one])).values()];
  const isDirect = ({ name }: FileDescriptorProto) =>
    name !== "google/protobuf/descriptor.proto" && name !== "google/protobuf/duration.proto";
  file.dependency = unique.filter(isDirect).map(({ name }) => name);
  file.sourceCodeInfo = commentsOf(file, descriptions);
  return [...unique, file];
}

function unusable(fieldViolations: FieldViolation[]): HmsError {
  const problems = fieldViolations.map(({ field, description }) => `${field}: ${description}`).join(" ");
  return new HmsError("INVALID_ARGUMENT", `The methods cannot be used. ${problems}`, { fieldViolations });
}

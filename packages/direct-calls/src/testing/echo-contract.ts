import type {
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
} from "@bufbuild/protobuf";
import { create, createFileRegistry, createRegistry, type DescService, setExtension } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  file_google_protobuf_wrappers,
  MethodOptionsSchema,
  type StringValueSchema,
} from "@bufbuild/protobuf/wkt";
import { ffiOptions } from "@hms/contracts";

type Text = typeof StringValueSchema;

/** A contract with a method of each kind over google.protobuf.StringValue; `read` may be repeated, the others not. */
export type EchoContract = Omit<DescService, "method"> & {
  method: {
    write: DescMethodUnary<Text, Text>;
    read: DescMethodUnary<Text, Text>;
    list: DescMethodServerStreaming<Text, Text>;
    collect: DescMethodClientStreaming<Text, Text>;
    converse: DescMethodBiDiStreaming<Text, Text>;
  };
};

function methodOf(
  name: string,
  idempotency: ffiOptions.Idempotency,
  kind: { client?: boolean; server?: boolean } = {},
) {
  const options = create(MethodOptionsSchema);
  const { NONE } = ffiOptions.AuditLevel;
  const rule = create(ffiOptions.MethodRuleSchema, { permission: "echo:call", auditLevel: NONE, idempotency });
  setExtension(options, ffiOptions.rule, rule);
  const text = ".google.protobuf.StringValue";
  const { client = false, server = false } = kind;
  const streams = { clientStreaming: client, serverStreaming: server };
  return { name, inputType: text, outputType: text, options, ...streams };
}

/** Builds the contract of tests, package `hms.test.v1` by default; it is no part of the product, so it has no file. */
export function echoContract(packageName = "hms.test.v1"): EchoContract {
  const { NO_SIDE_EFFECTS, NONE } = ffiOptions.Idempotency;
  const method = [
    methodOf("Write", NONE),
    methodOf("Read", NO_SIDE_EFFECTS),
    methodOf("List", NO_SIDE_EFFECTS, { server: true }),
    methodOf("Collect", NONE, { client: true }),
    methodOf("Converse", NONE, { client: true, server: true }),
  ];
  const file = create(FileDescriptorProtoSchema, {
    name: `${packageName.replaceAll(".", "/")}/echo.proto`,
    package: packageName,
    syntax: "proto3",
    dependency: [file_google_protobuf_wrappers.proto.name],
    service: [{ name: "EchoService", method }],
  });
  const known = createRegistry(file_google_protobuf_wrappers);
  const built = createFileRegistry(file, (name) =>
    name === file_google_protobuf_wrappers.proto.name ? file_google_protobuf_wrappers : known.getMessage(name)?.file,
  );
  return built.getService(`${packageName}.EchoService`) as DescService as EchoContract;
}

/** A stream of requests. */
export async function* texts(...values: string[]): AsyncGenerator<{ value: string }> {
  for (const value of values) yield { value };
}

/** What a stream of answers says. */
export async function valuesOf(answers: AsyncIterable<{ value: string }>): Promise<string[]> {
  const values: string[] = [];
  for await (const { value } of answers) values.push(value);
  return values;
}

import {
  create,
  createFileRegistry,
  createRegistry,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  setExtension,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  file_google_protobuf_wrappers,
  MethodOptionsSchema,
  type StringValueSchema,
} from "@bufbuild/protobuf/wkt";
import { ffiOptions } from "@hms/contracts";
import {
  anonymous,
  type CallContext,
  HmsError,
  implement,
  Kernel,
  type KernelOptions,
  type ServiceImplementation,
} from "@hms/kernel";

type Text = typeof StringValueSchema;

/** A contract with one method of each kind, all over google.protobuf.StringValue, which every ttrpc peer has. */
export type EchoContract = Omit<DescService, "method"> & {
  method: {
    unary: DescMethodUnary<Text, Text>;
    serverStream: DescMethodServerStreaming<Text, Text>;
    clientStream: DescMethodClientStreaming<Text, Text>;
    bidi: DescMethodBiDiStreaming<Text, Text>;
    /** As unary, but without side effects. */
    read: DescMethodUnary<Text, Text>;
  };
};

function methodOptions(reads: boolean) {
  const options = create(MethodOptionsSchema);
  const { NONE } = ffiOptions.AuditLevel;
  const { NONE: CHANGES, NO_SIDE_EFFECTS } = ffiOptions.Idempotency;
  const rule = { permission: "echo:call", auditLevel: NONE, idempotency: reads ? NO_SIDE_EFFECTS : CHANGES };
  setExtension(options, ffiOptions.rule, create(ffiOptions.MethodRuleSchema, rule));
  return options;
}

function method(name: string, kind: { client?: boolean; server?: boolean; reads?: boolean }) {
  const text = ".google.protobuf.StringValue";
  const { client = false, server = false, reads = false } = kind;
  const streams = { clientStreaming: client, serverStreaming: server };
  return { name, inputType: text, outputType: text, options: methodOptions(reads), ...streams };
}

/** Builds the contract; it is no part of the product, so it has no file. */
export function echoContract(): EchoContract {
  const file = create(FileDescriptorProtoSchema, {
    name: "hms/test/v1/echo.proto",
    package: "hms.test.v1",
    syntax: "proto3",
    dependency: ["google/protobuf/wrappers.proto"],
    service: [
      {
        name: "EchoService",
        method: [
          method("Unary", {}),
          method("ServerStream", { server: true }),
          method("ClientStream", { client: true }),
          method("Bidi", { client: true, server: true }),
          method("Read", { reads: true }),
        ],
      },
    ],
  });
  const known = createRegistry(file_google_protobuf_wrappers);
  const built = createFileRegistry(file, (name) =>
    name === file_google_protobuf_wrappers.proto.name ? file_google_protobuf_wrappers : known.getMessage(name)?.file,
  );
  return built.getService("hms.test.v1.EchoService") as DescService as EchoContract;
}

function answer({ value }: { value: string }, { metadata, remainingMs, principal }: CallContext) {
  if (value === "fail") throw new HmsError("NOT_FOUND", "asked to fail");
  const deadline = remainingMs !== undefined;
  return { value: `${value} id=${metadata["x-request-id"]} by=${principal.kind} deadline=${deadline}` };
}

/** Answers as the Go program in packages/wire/interop does. */
const echo: ServiceImplementation<EchoContract> = {
  unary: answer,
  read: answer,
  async *serverStream({ value }) {
    for (const text of value.split(",")) {
      if (text === "fail") throw new HmsError("ABORTED", "asked to fail");
      yield { value: text };
    }
  },
  async clientStream(requests) {
    const texts: string[] = [];
    for await (const { value } of requests) texts.push(value);
    return { value: texts.join("+") };
  },
  async *bidi(requests) {
    for await (const { value } of requests) yield { value: `re: ${value}` };
  },
};

/** A kernel that serves the contract to everybody, with some handlers and options of a test's own. */
export function echoKernel(
  contract: EchoContract,
  own: Partial<ServiceImplementation<EchoContract>> = {},
  options: Partial<KernelOptions> = {},
): Kernel {
  const kernel = new Kernel({
    identity: { authenticate: ({ token }) => (token ? { kind: "operator", id: "operator" } : anonymous) },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
    ...options,
  });
  kernel.register(implement(contract, { ...echo, ...own }));
  return kernel;
}

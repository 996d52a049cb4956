import { create, type DescFile, type DescService, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { deployment, grpcReflection, mesh } from "@hms/contracts";
import { type ErrorCode, HmsError, StatusCode } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { type ReflectionCall, reflectServer } from "./reflection.ts";

const { ServerReflectionResponseSchema } = grpcReflection;
type Init = MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"];
type Question = { case?: string | undefined; value?: unknown };

const V1 = "grpc.reflection.v1.ServerReflection";
const ALPHA = "grpc.reflection.v1alpha.ServerReflection";

function withImports(file: DescFile, into = new Map<string, DescFile>()): Map<string, DescFile> {
  for (const one of file.dependencies) withImports(one, into);
  return into.set(file.proto.name, file);
}

const refusal = (code: ErrorCode, errorMessage: string): Init => ({
  case: "errorResponse",
  value: { errorCode: StatusCode[code], errorMessage },
});

const filesAnswer = (...files: DescFile[]): Init => ({
  case: "fileDescriptorResponse",
  value: { fileDescriptorProto: files.map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto)) },
});

interface ServerOptions {
  services: readonly DescService[];
  speaks?: readonly string[];
  /** Answers before the server's own code does. */
  instead?: (question: Question) => Init | undefined;
}

/** A reflection service as gRPC libraries have it: one file an answer. */
function server({ services, speaks = [V1, ALPHA], instead }: ServerOptions) {
  const files = new Map(services.flatMap(({ file }) => [...withImports(file)]));
  const asked: string[] = [];
  const answer = ({ case: kind, value }: Question): Init => {
    asked.push(`${kind} ${value}`);
    const own = instead?.({ case: kind, value });
    if (own) return own;
    if (kind === "listServices") {
      const names = [V1, ...services.map(({ typeName }) => typeName)];
      return { case: "listServicesResponse", value: { service: names.map((name) => ({ name })) } };
    }
    const found =
      kind === "fileByFilename"
        ? files.get(value as string)
        : services.find(({ typeName }) => typeName === value)?.file;
    return found ? filesAnswer(found) : refusal("NOT_FOUND", `no ${value}`);
  };
  const call: ReflectionCall = async function* (service, requests) {
    if (!speaks.includes(service.typeName)) throw new HmsError("UNIMPLEMENTED", "unknown service");
    for await (const { messageRequest } of requests) {
      yield create(ServerReflectionResponseSchema, { messageResponse: answer(messageRequest ?? {}) as never });
    }
  };
  return { call, asked };
}

const both = [mesh.MeshService, deployment.DeploymentService];
const names = both.map(({ typeName }) => typeName);

describe("a server's contracts are read by reflection", () => {
  test.each([[[V1, ALPHA]], [[ALPHA]]])("from a server that speaks %j", async (speaks) => {
    const { files, services, undescribed } = await reflectServer(server({ services: both, speaks }).call);
    expect({ services, undescribed }).toEqual({ services: names, undescribed: [] });
    for (const { typeName, methods } of both) {
      expect(files.getService(typeName)?.methods.map(({ name }) => name)).toEqual(methods.map(({ name }) => name));
    }
  });

  test("with each file asked for once", async () => {
    const { call, asked } = server({ services: both });
    await reflectServer(call);
    expect(new Set(asked).size).toBe(asked.length);
  });

  test("of the services wanted only", async () => {
    const { call } = server({ services: both });
    expect((await reflectServer(call, { services: [names[0] ?? ""] })).services).toEqual([names[0]]);
    await expect(reflectServer(call, { services: ["a.B"] })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining(names.join(", ")),
    });
  });

  test("also where it keeps protobuf's own files back", async () => {
    const instead = ({ value }: Question) =>
      String(value).startsWith("google/protobuf/") ? refusal("NOT_FOUND", "no") : undefined;
    const { files } = await reflectServer(server({ services: both, instead }).call);
    expect(files.getMessage("google.protobuf.Timestamp")).toBeDefined();
  });

  test("leaving out what it lists and cannot describe", async () => {
    const instead = ({ value }: Question) => (value === names[0] ? refusal("NOT_FOUND", "no symbol") : undefined);
    const { services, undescribed } = await reflectServer(server({ services: both, instead }).call);
    expect(services).toEqual([names[1]]);
    expect(undescribed).toEqual([{ service: names[0], reason: "no symbol" }]);
  });
});

test("files as protobufjs makes them, without imports and full names, are repaired", async () => {
  const file = create(FileDescriptorProtoSchema, {
    name: "shop.proto",
    package: "acme.shop",
    syntax: "proto3",
    messageType: [
      {
        name: "Order",
        nestedType: [{ name: "Line", field: [{ name: "parent", number: 1, type: 11, label: 1, typeName: "Order" }] }],
        field: [
          { name: "lines", number: 1, type: 11, label: 3, typeName: "Line" },
          { name: "at", number: 2, type: 11, label: 1, typeName: "google.protobuf.Timestamp" },
          { name: "by", number: 3, type: 11, label: 1, typeName: "people.Person" },
        ],
      },
    ],
    service: [{ name: "Shop", method: [{ name: "Get", inputType: "Order", outputType: ".acme.shop.Order" }] }],
  });
  const people = create(FileDescriptorProtoSchema, {
    name: "p.proto",
    package: "acme.people",
    syntax: "proto3",
    messageType: [{ name: "Person" }],
  });
  const standard = create(FileDescriptorProtoSchema, {
    name: "google_protobuf.proto",
    package: "google.protobuf",
    syntax: "proto3",
    messageType: [{ name: "Timestamp" }],
  });
  const fileDescriptorProto = [file, people, standard].map((one) => toBinary(FileDescriptorProtoSchema, one));
  const call: ReflectionCall = async function* (_, requests) {
    for await (const { messageRequest } of requests) {
      const isList = messageRequest?.case === "listServices";
      const messageResponse = isList
        ? { case: "listServicesResponse", value: { service: [{ name: "acme.shop.Shop" }] } }
        : { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
      yield create(ServerReflectionResponseSchema, { messageResponse: messageResponse as never });
    }
  };
  const { files } = await reflectServer(call);
  const order = files.getService("acme.shop.Shop")?.methods[0]?.input;
  expect(order?.fields.map(({ message }) => message?.typeName)).toEqual([
    "acme.shop.Order.Line",
    "google.protobuf.Timestamp",
    "acme.people.Person",
  ]);
  expect(order?.fields[1]?.message?.fields).toHaveLength(2);
});

describe("a server that cannot be read is named as such", () => {
  test("without reflection", async () => {
    await expect(reflectServer(server({ services: both, speaks: [] }).call)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: { reason: "REFLECTION_MISSING" },
    });
  });

  test.each<[string, (question: Question) => Init | undefined]>([
    ["answers of another kind", () => ({ case: "allExtensionNumbersResponse", value: {} })],
    ["no answers", () => ({ case: undefined })],
    [
      "garbage",
      ({ case: kind }) =>
        kind === "fileContainingSymbol"
          ? { case: "fileDescriptorResponse", value: { fileDescriptorProto: [new Uint8Array([255])] } }
          : undefined,
    ],
    [
      "files under another name",
      ({ case: kind }) => (kind === "fileByFilename" ? filesAnswer(mesh.MeshService.file) : undefined),
    ],
  ])("with %s", async (_, instead) => {
    await expect(reflectServer(server({ services: both, instead }).call, { services: names })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: { reason: "REFLECTION_UNUSABLE" },
    });
  });

  test("that ends the call, or that cannot be reached", async () => {
    const ends: ReflectionCall = async function* () {};
    await expect(reflectServer(ends)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    // biome-ignore lint/correctness/useYield: it fails before it could.
    const away: ReflectionCall = async function* () {
      throw new HmsError("UNAVAILABLE", "nobody there");
    };
    await expect(reflectServer(away)).rejects.toMatchObject({ message: "nobody there" });
  });
});

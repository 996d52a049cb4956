import { clone, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptions_IdempotencyLevel as Level,
  SourceCodeInfoSchema,
} from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import { expect, test } from "vitest";
import { contractDigest } from "./contract-digest.ts";
import { descriptorSetOf, registryOf } from "./descriptor-set.ts";
import { wellKnownFile } from "./well-known-files.ts";

const PACKAGE = "hms.sys.mesh.v1";
const files = fromBinary(FileDescriptorSetSchema, descriptorSetOf([mesh.MeshService.file])).file;
const original = contractDigest(registryOf(files), PACKAGE);

function digestAfter(
  change: (files: FileDescriptorProto[], own: FileDescriptorProto) => FileDescriptorProto[] | undefined,
) {
  const copies = files.map((file) => clone(FileDescriptorProtoSchema, file));
  const own = copies.find((file) => file.package === PACKAGE) ?? expect.unreachable();
  return contractDigest(registryOf(change(copies, own) ?? copies), PACKAGE);
}

test("a digest is 64 hexadecimal digits, the same at each reading", () => {
  expect(original).toMatch(/^[0-9a-f]{64}$/);
  const bytes = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: files }));
  expect(contractDigest(registryOf(fromBinary(FileDescriptorSetSchema, bytes).file), PACKAGE)).toBe(original);
});

test.each<[string, Parameters<typeof digestAfter>[0]]>([
  ["the order of files", (all) => all.toReversed()],
  [
    "the order of messages and fields",
    (_, own) => {
      own.messageType.reverse();
      for (const message of own.messageType) if (message.oneofDecl.length === 0) message.field.reverse();
      return undefined;
    },
  ],
  [
    "comments",
    (_, own) => {
      own.sourceCodeInfo = create(SourceCodeInfoSchema, {
        location: [{ path: [4, 0], span: [0, 0, 0], leadingComments: "x" }],
      });
      return undefined;
    },
  ],
  [
    "imports that nothing is used from",
    (all, own) => {
      const unused = wellKnownFile("google/protobuf/type.proto") ?? expect.unreachable();
      const brings = unused.dependency.map((name) => wellKnownFile(name) ?? expect.unreachable());
      own.dependency.push(unused.name);
      return [...new Map([...all, ...brings, unused].map((file) => [file.name, file])).values()];
    },
  ],
  [
    "names in JSON that are spelled out",
    (_, own) => {
      for (const { field } of own.messageType) {
        for (const one of field)
          one.jsonName ||= one.name.replace(/_([a-z])/g, (__, letter: string) => letter.toUpperCase());
      }
      return undefined;
    },
  ],
  [
    "the file's name and what code is generated",
    (_, own) => {
      own.name = "other.proto";
      own.options = create(FileDescriptorProtoSchema, { options: { goPackage: "a" } }).options as never;
      return undefined;
    },
  ],
])("%s do not matter", (_, change) => {
  expect(digestAfter(change)).toBe(original);
});

test.each<[string, (own: FileDescriptorProto) => void]>([
  [
    "a field's number",
    (own) => void Object.assign(own.messageType.find(({ field }) => field.length > 0)?.field[0] ?? {}, { number: 99 }),
  ],
  [
    "a new message",
    (own) =>
      void own.messageType.push(...create(FileDescriptorProtoSchema, { messageType: [{ name: "New" }] }).messageType),
  ],
  [
    "a method's idempotency",
    (own) => {
      const options = own.service[0]?.method[0]?.options ?? expect.unreachable();
      options.idempotencyLevel = Level.NO_SIDE_EFFECTS;
    },
  ],
  [
    "whether a field can be absent",
    (own) => {
      const message =
        own.messageType.find(({ field }) => field.some(({ type, label }) => type === 9 && label === 1)) ??
        expect.unreachable();
      const field = message.field.find(({ type, label }) => type === 9 && label === 1) ?? expect.unreachable();
      Object.assign(field, { proto3Optional: true, oneofIndex: message.oneofDecl.length });
      message.oneofDecl.push(
        ...create(FileDescriptorProtoSchema, { messageType: [{ name: "X", oneofDecl: [{ name: "_x" }] }] })
          .messageType[0]!.oneofDecl,
      );
    },
  ],
])("%s does matter", (_, change) => {
  expect(digestAfter((__, own) => void change(own))).not.toBe(original);
});

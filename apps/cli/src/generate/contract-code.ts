import {
  type DescEnum,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { contractComments } from "@hms/contracts/comments";
import {
  type Contract,
  commentsOf,
  contractDigest,
  descriptorSetOf,
  type ServiceName,
  writeDescriptorSet,
} from "@hms/descriptors";

/** A contract as code generators want it. */
export interface ContractCode extends ServiceName {
  /** 64 hexadecimal digits. */
  readonly digest: string;
  readonly services: readonly DescService[];
  /** Every message that methods use, in the order in which they are met; without those that have a form of their own. */
  readonly messages: readonly DescMessage[];
  readonly enums: readonly DescEnum[];
  /** The serialized FileDescriptorSet, imports included, comments left out. */
  readonly set: Uint8Array;
  /** What the contract says above a declaration; empty if it says nothing. */
  commentOf(desc: Commented): string;
}

/** What can have a comment. */
type Commented = DescService | DescMethod | DescMessage | DescField | DescEnum;

/** Messages that languages have a form of their own for. */
const OWN_FORM =
  /^google\.protobuf\.(?:Timestamp|Duration|Struct|Value|ListValue|FieldMask|Any|(?:Bool|U?Int32|U?Int64|Float|Double|String|Bytes)Value)$/;

/** Whether a message is written as something other than an object with its fields. */
export function hasOwnForm({ typeName }: DescMessage): boolean {
  return OWN_FORM.test(typeName);
}

/** Works out what code is generated from. */
export function contractCode(name: ServiceName, { files, services, packageName }: Contract): ContractCode {
  const { messages, enums } = typesOf(services);
  return {
    ...name,
    digest: contractDigest(files, packageName),
    services,
    messages,
    enums,
    set: withoutComments(services.map(({ file }) => file)),
    commentOf: commentFinder(),
  };
}

/** Files with all they import, without source information. */
function withoutComments(files: Iterable<DescFile>): Uint8Array {
  const set = fromBinary(FileDescriptorSetSchema, descriptorSetOf(files));
  for (const file of set.file) delete file.sourceCodeInfo;
  return writeDescriptorSet(set);
}

function typesOf(services: readonly DescService[]): { messages: DescMessage[]; enums: DescEnum[] } {
  const messages = new Set<DescMessage>();
  const enums = new Set<DescEnum>();
  const meet = (message: DescMessage) => {
    if (messages.has(message) || hasOwnForm(message)) return;
    messages.add(message);
    for (const { message: inner, enum: choice } of message.fields) {
      if (choice) enums.add(choice);
      if (inner) meet(inner);
    }
  };
  for (const { methods } of services) {
    for (const { input, output } of methods) {
      meet(input);
      meet(output);
    }
  }
  return { messages: [...messages], enums: [...enums] };
}

function commentFinder(): (desc: Commented) => string {
  const known = new Map<string, ReadonlyMap<string, string>>();
  return (desc) => {
    const { proto } = fileOf(desc);
    const comments = known.get(proto.name) ?? commentsOf(proto);
    known.set(proto.name, comments);
    const name = "typeName" in desc ? desc.typeName : `${desc.parent.typeName}.${desc.name}`;
    return comments.get(name) ?? contractComments[name] ?? "";
  };
}

function fileOf(desc: Commented): DescFile {
  return "file" in desc ? desc.file : desc.parent.file;
}

import type { DescriptorProto, EnumDescriptorProto, FileDescriptorProto } from "@bufbuild/protobuf/wkt";

// Numbers of fields in descriptor.proto, of which the paths of source locations are made.
const FILE_MESSAGE = 4;
const FILE_ENUM = 5;
const FILE_SERVICE = 6;
const MESSAGE_FIELD = 2;
const MESSAGE_NESTED = 3;
const MESSAGE_ENUM = 4;
const ENUM_VALUE = 2;
const SERVICE_METHOD = 2;

/** The comments of a file by the full names of what they stand above; empty without source information. */
export function commentsOf(file: FileDescriptorProto): ReadonlyMap<string, string> {
  const comments = new Map<string, string>();
  const names = namesByPath(file);
  for (const { path, leadingComments } of file.sourceCodeInfo?.location ?? []) {
    const name = leadingComments === "" ? undefined : names.get(path.join("."));
    if (name !== undefined) comments.set(name, plain(leadingComments));
  }
  return comments;
}

/** Where a line ends in one of the languages that comments are written into, and characters that no comment needs. */
const LINE_ENDS = /\r\n?|[\n\v\f\u0085\u2028\u2029]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken away
const CONTROL = /[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f]/g;

/** A comment as lines that end by "\n" and nothing else: whoever writes it into code stays within it. */
function plain(comment: string): string {
  return comment
    .split(LINE_ENDS)
    .map((line) => line.replace(CONTROL, ""))
    .map((line) => line.replace(/^ /, "").trimEnd())
    .join("\n")
    .trim();
}

function namesByPath(file: FileDescriptorProto): Map<string, string> {
  const names = new Map<string, string>();
  const prefix = file.package === "" ? "" : `${file.package}.`;
  for (const [index, message] of file.messageType.entries()) {
    addMessage(names, message, { path: `${FILE_MESSAGE}.${index}`, prefix });
  }
  for (const [index, desc] of file.enumType.entries()) addEnum(names, desc, { path: `${FILE_ENUM}.${index}`, prefix });
  for (const [index, service] of file.service.entries()) {
    const name = `${prefix}${service.name}`;
    names.set(`${FILE_SERVICE}.${index}`, name);
    for (const [at, method] of service.method.entries()) {
      names.set(`${FILE_SERVICE}.${index}.${SERVICE_METHOD}.${at}`, `${name}.${method.name}`);
    }
  }
  return names;
}

interface Place {
  readonly path: string;
  readonly prefix: string;
}

function addMessage(names: Map<string, string>, message: DescriptorProto, { path, prefix }: Place): void {
  const name = `${prefix}${message.name}`;
  names.set(path, name);
  for (const [at, field] of message.field.entries())
    names.set(`${path}.${MESSAGE_FIELD}.${at}`, `${name}.${field.name}`);
  const below = `${name}.`;
  for (const [at, nested] of message.nestedType.entries()) {
    addMessage(names, nested, { path: `${path}.${MESSAGE_NESTED}.${at}`, prefix: below });
  }
  for (const [at, desc] of message.enumType.entries()) {
    addEnum(names, desc, { path: `${path}.${MESSAGE_ENUM}.${at}`, prefix: below });
  }
}

function addEnum(names: Map<string, string>, desc: EnumDescriptorProto, { path, prefix }: Place): void {
  const name = `${prefix}${desc.name}`;
  names.set(path, name);
  for (const [at, value] of desc.value.entries()) names.set(`${path}.${ENUM_VALUE}.${at}`, `${name}.${value.name}`);
}

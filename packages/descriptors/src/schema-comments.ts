import { create } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type FileDescriptorProto,
  type SourceCodeInfo,
  type SourceCodeInfo_Location,
  SourceCodeInfo_LocationSchema,
  SourceCodeInfoSchema,
} from "@bufbuild/protobuf/wkt";

/** Numbers of fields in descriptors, of which paths to a comment are made. */
const [FILE_MESSAGE, FILE_SERVICE, SERVICE_METHOD, MESSAGE_FIELD, MESSAGE_NESTED] = [4, 6, 2, 2, 3];

/** Makes descriptions the comments of a file, where tools look for them. */
export function commentsOf(file: FileDescriptorProto, descriptions: ReadonlyMap<object, string>): SourceCodeInfo {
  const location: SourceCodeInfo_Location[] = [];
  const add = (what: object, path: number[]) => {
    const text = descriptions.get(what);
    if (!text) return;
    const leadingComments = ` ${text.replaceAll("\n", "\n ")}\n`;
    location.push(create(SourceCodeInfo_LocationSchema, { path, span: [0, 0, 0], leadingComments }));
  };
  const addMessage = (message: DescriptorProto, path: number[]) => {
    add(message, path);
    for (const [index, field] of message.field.entries()) add(field, [...path, MESSAGE_FIELD, index]);
    for (const [index, nested] of message.nestedType.entries()) addMessage(nested, [...path, MESSAGE_NESTED, index]);
  };
  for (const [index, message] of file.messageType.entries()) addMessage(message, [FILE_MESSAGE, index]);
  for (const [index, service] of file.service.entries()) {
    for (const [at, method] of service.method.entries()) add(method, [FILE_SERVICE, index, SERVICE_METHOD, at]);
  }
  return create(SourceCodeInfoSchema, { location });
}

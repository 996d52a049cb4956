import { type DescFile, type DescMessage, type DescService, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { errorDetails, ffiErrors, type grpcReflection } from "@hms/contracts";
import { type CallContext, HmsError, type Kernel } from "@hms/kernel";

type Request = grpcReflection.ServerReflectionRequest;
type Answer = MessageInitShape<typeof grpcReflection.ServerReflectionResponseSchema>["messageResponse"];

/**
 * grpc.reflection.v1 (and v1alpha, whose messages are the same) of what can be called through a kernel, as it is when a
 * question is asked. With a file come all that it imports, so that files of different services may share a name.
 */
export function reflectionHandler(kernel: Kernel, also: readonly DescService[]) {
  return async function* (requests: AsyncIterable<Request>, { metadata }: CallContext) {
    for await (const request of requests) {
      const services = [...kernel.services(metadata["x-hms-environment"] ?? "default"), ...also];
      const { host, messageRequest } = request;
      // What is written again may be of v1alpha.
      const originalRequest = { host, messageRequest };
      yield { validHost: host, originalRequest, messageResponse: answerTo(request, services) };
    }
  };
}

function answerTo({ messageRequest: { case: kind, value } }: Request, services: readonly DescService[]): Answer {
  try {
    switch (kind) {
      case "listServices": {
        const names = services.map(({ typeName }) => typeName).sort();
        return { case: "listServicesResponse", value: { service: names.map((name) => ({ name })) } };
      }
      case "fileByFilename":
        return closureOf(fileWhere(services, ({ proto }) => proto.name === value, value));
      case "fileContainingSymbol":
        return closureOf(fileWhere(services, (file) => defines(file, value), value));
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = value;
        const extension = (file: DescFile) => extensionsIn(file, containingType).includes(extensionNumber);
        return closureOf(fileWhere(services, extension, `extension ${extensionNumber} of ${containingType}`));
      }
      case "allExtensionNumbersOfType": {
        fileWhere(services, (file) => defines(file, value), value);
        const numbers = [...filesOf(services)].flatMap((file) => extensionsIn(file, value));
        const extensionNumber = [...new Set(numbers)].sort((a, b) => a - b);
        return { case: "allExtensionNumbersResponse", value: { baseTypeName: value, extensionNumber } };
      }
      default:
        throw new HmsError("INVALID_ARGUMENT", "The request asks for nothing this server knows of.");
    }
  } catch (error) {
    const { statusCode, message } = HmsError.from(error);
    return { case: "errorResponse", value: { errorCode: statusCode, errorMessage: message } };
  }
}

/** Files that no contract imports, but that the details of errors are of. */
const DETAILS = [errorDetails.file_google_rpc_error_details, ffiErrors.file_hms_ffi_v1_errors];

function filesOf(services: readonly DescService[]): Set<DescFile> {
  const files = new Set([...services.map(({ file }) => file), ...DETAILS]);
  // What is added meanwhile is visited too.
  for (const file of files) for (const imported of file.dependencies) files.add(imported);
  return files;
}

function fileWhere(services: readonly DescService[], fits: (file: DescFile) => boolean, what: string): DescFile {
  for (const file of filesOf(services)) if (fits(file)) return file;
  throw new HmsError("NOT_FOUND", `Nothing here knows ${what.slice(0, 200)}.`);
}

function closureOf(file: DescFile): Answer {
  const files = new Set([file]);
  for (const each of files) for (const imported of each.dependencies) files.add(imported);
  const fileDescriptorProto = [...files].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

/** True if a file defines a service, method, message, field, enum, enum value or extension of this full name. */
function defines(file: DescFile, symbol: string): boolean {
  const { package: within } = file.proto;
  if (within !== "" && !symbol.startsWith(`${within}.`)) return false;
  const parent = symbol.slice(0, symbol.lastIndexOf("."));
  const last = symbol.slice(parent.length + 1);
  const hasMember = (members: readonly { name: string }[]) => members.some(({ name }) => name === last);
  const { services, messages, enums, extensions } = everythingIn(file);
  return (
    [...services, ...messages, ...enums, ...extensions].some(({ typeName }) => typeName === symbol) ||
    services.some(({ typeName, methods }) => typeName === parent && hasMember(methods)) ||
    messages.some(({ typeName, fields, oneofs }) => typeName === parent && hasMember([...fields, ...oneofs])) ||
    enums.some(({ parent: outer, values, typeName }) => {
      // Values of an enum are siblings of it.
      const scope = outer?.typeName ?? typeName.slice(0, typeName.lastIndexOf("."));
      return scope === parent && hasMember(values);
    })
  );
}

function extensionsIn(file: DescFile, extended: string): number[] {
  const { extensions } = everythingIn(file);
  return extensions.filter(({ extendee }) => extendee.typeName === extended).map(({ number }) => number);
}

function everythingIn(file: DescFile) {
  const messages: DescMessage[] = [...file.messages];
  for (const message of messages) messages.push(...message.nestedMessages);
  const enums = [...file.enums, ...messages.flatMap(({ nestedEnums }) => nestedEnums)];
  const extensions = [...file.extensions, ...messages.flatMap(({ nestedExtensions }) => nestedExtensions)];
  return { services: file.services, messages, enums, extensions };
}

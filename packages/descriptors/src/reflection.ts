import { type DescService, type FileRegistry, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { grpcReflection, grpcReflectionAlpha } from "@hms/contracts";
import { HmsError, statusCodeName } from "@hms/kernel";
import { registryOf } from "./descriptor-set.ts";
import { questionsOver, type ReflectionStream } from "./reflection-stream.ts";
import { repairFiles } from "./repair-files.ts";
import { wellKnownFile } from "./well-known-files.ts";

const MOST_FILES = 2000;
const MOST_BYTES = 16 * 1024 * 1024;

/**
 * Calls ServerReflectionInfo of the service given, which is one of grpc.reflection.v1 or v1alpha: they have the same
 * messages, written here as those of v1. The transport turns its errors into HmsError.
 */
export type ReflectionCall = (service: DescService, requests: AsyncIterable<Request>) => AsyncIterable<Response>;

/** What a server says of itself. */
export interface ReflectedServer {
  /** Everything its services need. */
  readonly files: FileRegistry;
  /** Full names, "helloworld.Greeter". */
  readonly services: readonly string[];
  /** Services that it lists without being able to describe them. */
  readonly undescribed: readonly { readonly service: string; readonly reason: string }[];
}

/** What to ask a server. */
export interface ReflectOptions {
  /** Full names of services; default: all that it lists but grpc.*. */
  services?: readonly string[];
}

type Request = MessageInitShape<typeof grpcReflection.ServerReflectionRequestSchema>;
type Response = grpcReflection.ServerReflectionResponse;
type Answer<K extends Response["messageResponse"]["case"]> = Extract<Response["messageResponse"], { case: K }>;

function unexpected(what: string): HmsError {
  const hint = "Register its FileDescriptorSet instead, or repair its reflection service.";
  return new HmsError("FAILED_PRECONDITION", `The server's reflection ${what}. ${hint}`, {
    reason: "REFLECTION_UNUSABLE",
  });
}

function answerOf<K extends Response["messageResponse"]["case"]>(
  { messageResponse }: Response,
  wanted: K,
): Answer<K>["value"] {
  if (messageResponse.case === "errorResponse") {
    const { errorCode, errorMessage } = messageResponse.value;
    throw new HmsError(statusCodeOf(errorCode), errorMessage || "The server's reflection gives no reason.");
  }
  if (messageResponse.case !== wanted) throw unexpected(`answers ${messageResponse.case ?? "nothing"} to ${wanted}`);
  return messageResponse.value as Answer<K>["value"];
}

function statusCodeOf(code: number) {
  const name = statusCodeName(code);
  return name === "OK" ? "UNKNOWN" : name;
}

/** Collects files until nothing that they import is missing. */
class FileCollection {
  readonly #files = new Map<string, FileDescriptorProto>();
  readonly #stream: ReflectionStream;
  #bytes = 0;

  constructor(stream: ReflectionStream) {
    this.#stream = stream;
  }

  get files(): FileDescriptorProto[] {
    return [...this.#files.values()];
  }

  async addSymbol(symbol: string): Promise<void> {
    await this.#add({ messageRequest: { case: "fileContainingSymbol", value: symbol } });
  }

  /** Asks for imports, and what they import; protobuf's own files are known here, should the server keep them back. */
  async complete(): Promise<void> {
    // Files that arrive meanwhile are looked at too: a Map's iteration meets what is added during it.
    for (const { dependency } of this.#files.values()) {
      for (const name of dependency) if (!this.#files.has(name)) await this.#addFile(name);
    }
  }

  async #addFile(name: string): Promise<void> {
    try {
      await this.#add({ messageRequest: { case: "fileByFilename", value: name } });
    } catch (error) {
      const known = wellKnownFile(name);
      if (known === undefined) throw error;
      this.#files.set(name, known);
    }
    if (!this.#files.has(name)) throw unexpected(`has other files than ${name} under that name`);
  }

  async #add(request: Request): Promise<void> {
    const { fileDescriptorProto } = answerOf(await this.#stream.ask(request), "fileDescriptorResponse");
    for (const bytes of fileDescriptorProto) {
      this.#bytes += bytes.length;
      const file = parseFile(bytes);
      if (!this.#files.has(file.name)) this.#files.set(file.name, file);
    }
    if (this.#bytes > MOST_BYTES || this.#files.size > MOST_FILES) {
      throw unexpected(`sends more than ${MOST_FILES} files or ${MOST_BYTES} bytes`);
    }
  }
}

function parseFile(bytes: Uint8Array): FileDescriptorProto {
  try {
    return fromBinary(FileDescriptorProtoSchema, bytes);
  } catch {
    throw unexpected("sends what is no FileDescriptorProto");
  }
}

async function listServices(stream: ReflectionStream): Promise<string[]> {
  const question: Request = { messageRequest: { case: "listServices", value: "*" } };
  const { service } = answerOf(await stream.ask(question), "listServicesResponse");
  return service.map(({ name }) => name);
}

async function readServer(stream: ReflectionStream, wanted: readonly string[] | undefined): Promise<ReflectedServer> {
  const listed = await listServices(stream);
  const missing = wanted?.filter((name) => !listed.includes(name)) ?? [];
  if (missing.length > 0) {
    const offer = listed.length > 0 ? `It offers ${listed.join(", ")}.` : "It offers none.";
    throw new HmsError("NOT_FOUND", `The server has no service ${missing.join(", ")}. ${offer}`);
  }
  const collection = new FileCollection(stream);
  const services: string[] = [];
  const undescribed: { service: string; reason: string }[] = [];
  for (const name of wanted ?? listed.filter((one) => !one.startsWith("grpc."))) {
    try {
      await collection.addSymbol(name);
      services.push(name);
    } catch (error) {
      const failure = HmsError.from(error);
      if (wanted || failure.code === "UNAVAILABLE" || failure.code === "CANCELLED") throw failure;
      undescribed.push({ service: name, reason: failure.message });
    }
  }
  await collection.complete();
  return { files: filesOf(collection.files), services, undescribed };
}

function filesOf(files: readonly FileDescriptorProto[]): FileRegistry {
  try {
    return registryOf(files);
  } catch (error) {
    try {
      return registryOf(repairFiles(files));
    } catch {
      throw unexpected(`sends files that do not fit together (${HmsError.from(error).message})`);
    }
  }
}

/**
 * Reads the contracts of a server by grpc.reflection.v1, or v1alpha where it has only that.
 * @throws HmsError FAILED_PRECONDITION if it has no usable reflection, NOT_FOUND if a service is not there.
 */
export async function reflectServer(call: ReflectionCall, options: ReflectOptions = {}): Promise<ReflectedServer> {
  for (const service of [grpcReflection.ServerReflection, grpcReflectionAlpha.ServerReflection]) {
    const stream = questionsOver((requests) => call(service, requests));
    try {
      return await readServer(stream, options.services);
    } catch (error) {
      if (stream.answered || HmsError.from(error).code !== "UNIMPLEMENTED") throw error;
    } finally {
      stream.close();
    }
  }
  const hint = "Turn it on there (each gRPC library has it), or register the server's FileDescriptorSet instead.";
  throw new HmsError("FAILED_PRECONDITION", `The server has no reflection service. ${hint}`, {
    reason: "REFLECTION_MISSING",
  });
}

import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type ContractCode, hasOwnForm } from "./contract-code.ts";
import { base64Lines, headerLines } from "./generated-file.ts";
import { baseName, nameOfPackage, TypeNames } from "./type-names.ts";
import { docComment, enumLines, interfaceLines, messageType } from "./typescript-types.ts";

/** What the generated text itself uses, and what no type may be called. */
const RESERVED =
  "ffi CONTRACT Promise AsyncIterable AsyncDisposable Iterable Uint8Array Date Buffer Omit Symbol Object String Number " +
  "Boolean Array Function any as async await bigint boolean break case catch class const continue debugger declare " +
  "default delete do else enum export extends false finally for function if implements import in infer instanceof " +
  "interface keyof let namespace never new null number object of package private protected public readonly return " +
  "static string super switch symbol this throw true try type typeof undefined unknown var void while with yield";

/** Members that a client has besides its methods, or that would make it something else. */
const MEMBERS = new Set(["close", "then", "constructor"]);

/** A service of the contract and what it is called. */
interface NamedService {
  readonly desc: DescService;
  readonly base: string;
  /** The interface of its handlers. */
  readonly handlers: string;
  readonly client: string;
}

/** "hms-cdf-debate-v1.ts". */
export function typescriptFileName({ serviceId, version }: ContractCode): string {
  return `${serviceId.replace(/[._]/g, "-")}-${version}.ts`;
}

/** TypeScript for a contract: types, a client and an interface of handlers for each service, and how to serve them. */
export function typescriptCode(code: ContractCode): string {
  const names = new TypeNames(RESERVED.split(" "));
  const services = code.services.map((desc): NamedService => {
    const base = baseName(desc.name);
    return { desc, base, handlers: names.take(`${base}Service`), client: names.take(`${base}Client`) };
  });
  const serve = names.take(`serve${services.length === 1 ? services[0]?.base : nameOfPackage(code.serviceId)}`);
  for (const desc of [...code.messages, ...code.enums]) names.add(desc);
  const [first = "", ...rest] = headerLines(code);
  return [
    `// ${first}`,
    ...rest.map((line) => `// ${line}`),
    "/* eslint-disable */",
    'import * as ffi from "@hms/ffi";',
    ...code.enums.flatMap((desc) => enumLines(desc, code, names)),
    ...code.messages.flatMap((message) => interfaceLines(message, code, names)),
    ...services.flatMap((service) => clientLines(service, code, names)),
    ...services.flatMap((service) => handlerLines(service, code, names)),
    ...serveLines(serve, services, code),
    "",
    "const CONTRACT = Uint8Array.from(",
    "  Buffer.from(",
    ...base64Lines(code.set).map((line, at) => `    ${at === 0 ? "" : "+ "}"${line}"`),
    '    , "base64"),',
    ");",
    "",
  ].join("\n");
}

const member = ({ localName }: DescMethod) => (MEMBERS.has(localName) ? `${localName}_` : localName);
/** What the SDK calls a method: with its service where there are several. */
const callName = ({ name, parent }: DescMethod, services: number) => (services === 1 ? name : `${parent.name}/${name}`);

function methodKey(method: DescMethod, services: number): string {
  const name = callName(method, services);
  return services === 1 ? name : JSON.stringify(name);
}

const takesStream = ({ methodKind }: DescMethod) =>
  methodKind === "client_streaming" || methodKind === "bidi_streaming";
const givesStream = ({ methodKind }: DescMethod) =>
  methodKind === "server_streaming" || methodKind === "bidi_streaming";

function clientLines({ desc, client }: NamedService, code: ContractCode, names: TypeNames): string[] {
  const { serviceId, version } = code;
  const about = code.commentOf(desc);
  const comment = [`Calls ${serviceId} ${version}, wherever it runs.`, about].filter((part) => part !== "").join(" ");
  return [
    "",
    ...docComment(comment),
    `export class ${client} implements AsyncDisposable {`,
    "  readonly #client: ffi.Client;",
    "",
    '  constructor(options: Omit<ffi.ClientOptions, "version" | "contract"> = {}) {',
    `    const own = { version: ${JSON.stringify(version)}, contract: CONTRACT };`,
    `    this.#client = new ffi.Client(${JSON.stringify(serviceId)}, { ...options, ...own });`,
    "  }",
    ...desc.methods.flatMap((method) => callLines(method, code, names)),
    "",
    "  /** Ends this client; with the last one of the program running calls are cancelled. */",
    "  close(): Promise<void> {",
    "    return this.#client.close();",
    "  }",
    "",
    "  [Symbol.asyncDispose](): Promise<void> {",
    "    return this.close();",
    "  }",
    "}",
  ];
}

function callLines(method: DescMethod, code: ContractCode, names: TypeNames): string[] {
  const input = `ffi.Init<${messageType(method.input, names)}>`;
  const output = messageType(method.output, names);
  const name = JSON.stringify(callName(method, code.services.length));
  const parameter = takesStream(method)
    ? `requests: AsyncIterable<${input}> | Iterable<${input}>`
    : `request: ${input}${hasOwnForm(method.input) ? "" : " = {}"}`;
  const given = takesStream(method) ? "requests" : hasOwnForm(method.input) ? "request as never" : "request";
  const [act, answer] = givesStream(method)
    ? ["stream", `ffi.AnswerStream<${output}>`]
    : ["call", `Promise<${output}>`];
  return [
    "",
    ...docComment(code.commentOf(method), "  "),
    `  ${member(method)}(${parameter}, options: ffi.CallOptions = {}): ${answer} {`,
    `    return this.#client.${act}<${output}>(${name}, ${given}, options);`,
    "  }",
  ];
}

function handlerLines({ desc, handlers }: NamedService, code: ContractCode, names: TypeNames): string[] {
  const methods = desc.methods.flatMap((method) => {
    const input = messageType(method.input, names);
    const output = messageType(method.output, names);
    const request = takesStream(method) ? `requests: AsyncIterable<${input}>` : `request: ${input}`;
    const answer = givesStream(method) ? `AsyncIterable<ffi.Init<${output}>>` : `ffi.Answer<${output}>`;
    const comment = docComment(code.commentOf(method), "  ");
    return [...comment, `  ${method.localName}(${request}, call: ffi.CallContext): ${answer};`];
  });
  const comment = docComment(`What a program that offers ${code.serviceId} ${code.version} has to write.`);
  return ["", ...comment, `export interface ${handlers} {`, ...methods, "}"];
}

function serveLines(name: string, services: readonly NamedService[], { serviceId, version }: ContractCode): string[] {
  const isOne = services.length === 1;
  // Several services may have methods of the same name, so each has an implementation of its own.
  const implementation = isOne
    ? services.map(({ handlers }) => handlers).join()
    : `{ ${services.map(({ desc, handlers }) => `${desc.name}: ${handlers}`).join("; ")} }`;
  const methods = services.flatMap(({ desc }) =>
    desc.methods.map((method) => {
      const given = takesStream(method) ? "requests" : "request";
      const holder = isOne ? "implementation" : `implementation.${desc.name}`;
      const key = methodKey(method, services.length);
      return `      ${key}: (${given}: never, call: ffi.CallContext) => ${holder}.${method.localName}(${given}, call),`;
    }),
  );
  return [
    "",
    ...docComment(`Offers ${serviceId} ${version}: listens, registers, and checks the ticket of every caller.`),
    `export function ${name}(`,
    `  implementation: ${implementation},`,
    '  options: Omit<ffi.ServeOptions, "serviceId" | "version" | "contract" | "methods"> = {},',
    "): Promise<ffi.ServedService> {",
    "  return ffi.serve({",
    "    ...options,",
    `    serviceId: ${JSON.stringify(serviceId)},`,
    `    version: ${JSON.stringify(version)},`,
    "    contract: CONTRACT,",
    "    methods: {",
    ...methods,
    "    },",
    "  });",
    "}",
  ];
}

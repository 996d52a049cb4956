import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type ContractCode, hasOwnForm } from "./contract-code.ts";
import { base64Lines, headerLines } from "./generated-file.ts";
import { docString, enumLines, messageLines, messageType, pythonKeywords, pythonName } from "./python-types.ts";
import { baseName, snakeName, TypeNames } from "./type-names.ts";

/** What the generated text itself uses, and what no type may be called. */
const RESERVED =
  "Any AsyncIterable AsyncIterator CallContext Client CONTRACT Dict False Iterable Iterator List Literal Mapping None " +
  "Optional Sequence True TypedDict Union abc abstractmethod base64 bool bytes cast datetime dict float int list method " +
  "object service str super timedelta type ABC AsyncConversation Conversation annotations";

const TYPES = ["", "Input", "Like"];

interface NamedService {
  readonly desc: DescService;
  readonly client: string;
  readonly asyncClient: string;
  readonly servicer: string;
  readonly asyncServicer: string;
}

/** "hms_cdf_debate_v1.py". */
export function pythonFileName({ serviceId, version }: ContractCode): string {
  return `${serviceId.replaceAll(".", "_")}_${version}.py`;
}

/** Python for a contract: types, and for each service a client and a servicer, blocking and with asyncio. */
export function pythonCode(code: ContractCode): string {
  const names = new TypeNames([...RESERVED.split(" "), ...pythonKeywords]);
  const services = code.services.map((desc): NamedService => {
    const base = baseName(desc.name);
    const [client, asyncClient] = [names.take(`${base}Client`), names.take(`${base}AsyncClient`)];
    return {
      desc,
      client,
      asyncClient,
      servicer: names.take(`${base}Servicer`),
      asyncServicer: names.take(`${base}AsyncServicer`),
    };
  });
  for (const desc of code.enums) names.add(desc);
  for (const desc of code.messages) names.add(desc, TYPES);
  const [first = "", ...rest] = headerLines(code);
  return [
    `# ${first}`,
    ...rest.map((line) => `# ${line}`),
    `"""Calls and offers ${code.serviceId} ${code.version}."""`,
    "",
    "# ruff: noqa",
    "",
    "from __future__ import annotations",
    "",
    "import base64",
    "from abc import ABC, abstractmethod",
    "from datetime import datetime, timedelta",
    "from typing import (",
    ...["Any", "AsyncIterable", "AsyncIterator", "Dict", "Iterable", "Iterator", "List", "Literal", "Mapping"].map(
      line,
    ),
    ...["Optional", "Sequence", "TypedDict", "Union"].map(line),
    ")",
    "",
    "from hms_ffi.client import Client",
    "from hms_ffi.conversations import AsyncConversation, Conversation",
    "from hms_ffi.service import CallContext, method, service",
    "",
    "CONTRACT = base64.b64decode(",
    ...base64Lines(code.set).map((text) => `    "${text}"`),
    ")",
    ...code.enums.flatMap((desc) => enumLines(desc, code, names)),
    ...code.messages.flatMap((message) => messageLines(message, code, names)),
    ...services.flatMap((one) => [
      ...clientLines(one, { code, names, isAsync: false }),
      ...clientLines(one, { code, names, isAsync: true }),
      ...servicerLines(one, { code, names, isAsync: false }),
      ...servicerLines(one, { code, names, isAsync: true }),
    ]),
    "",
  ].join("\n");
}

const line = (name: string) => `    ${name},`;

interface Writing {
  readonly code: ContractCode;
  readonly names: TypeNames;
  readonly isAsync: boolean;
}

function clientLines({ desc, client, asyncClient }: NamedService, writing: Writing): string[] {
  const { code, isAsync } = writing;
  const about = `Calls ${code.serviceId} ${code.version}, ${isAsync ? "with asyncio" : "blocking"}.`;
  const comment = code.commentOf(desc);
  const named = code.services.length === 1 ? "" : `, service="${desc.name}"`;
  const name = isAsync ? asyncClient : client;
  const [def, enter, exit] = isAsync ? ["async def", "__aenter__", "__aexit__"] : ["def", "__enter__", "__exit__"];
  return [
    "",
    "",
    `class ${name}:`,
    ...docString(comment === "" ? about : `${about}\n\n${comment}`, "    "),
    "",
    "    def __init__(self, **options: Any) -> None:",
    ...docString("Options are those of hms_ffi.client.Client.", "        "),
    `        own: Dict[str, Any] = dict(version="${code.version}", contract=CONTRACT${named})`,
    `        self._client = Client("${code.serviceId}", **{**options, **own})`,
    ...desc.methods.flatMap((method) => callLines(method, writing)),
    "",
    "    def close(self) -> None:",
    ...docString("Ends the client's connections and the calls on them.", "        "),
    "        self._client.close()",
    "",
    `    ${def} ${enter}(self) -> ${name}:`,
    "        return self",
    "",
    `    ${def} ${exit}(self, *_: object) -> None:`,
    "        self.close()",
  ];
}

const OPTIONS =
  "*, timeout: Optional[float] = None, metadata: Optional[Mapping[str, str]] = None, idempotency_key: Optional[str] = None";
const GIVEN = "timeout=timeout, metadata=metadata, idempotency_key=idempotency_key";

/** Members that a client has besides its methods. */
const memberName = ({ name }: DescMethod) => (snakeName(name) === "close" ? "close_" : pythonName(snakeName(name)));

function callLines(method: DescMethod, { code, names, isAsync }: Writing): string[] {
  const input = messageType(method.input, names, "given");
  const output = messageType(method.output, names, "read");
  const request = hasOwnForm(method.input) ? `request: ${input}` : `request: Optional[${input}] = None`;
  const requests = isAsync
    ? `requests: Union[Iterable[${input}], AsyncIterable[${input}]]`
    : `requests: Iterable[${input}]`;
  const name = JSON.stringify(method.name);
  const [def, wait, stream, later] = isAsync
    ? ["async def", "await ", "AsyncConversation", "_async"]
    : ["def", "", "Conversation", ""];
  const doc = docString(code.commentOf(method), "        ");
  const member = memberName(method);
  const parts: Record<DescMethod["methodKind"], string[]> = {
    unary: [
      `    ${def} ${member}(self, ${request}, ${OPTIONS}) -> ${output}:`,
      ...doc,
      `        answer: ${output} = ${wait}self._client.call${later}(${name}, request, ${GIVEN})`,
      "        return answer",
    ],
    server_streaming: [
      `    def ${member}(self, ${request}, ${OPTIONS}) -> ${isAsync ? "AsyncIterator" : "Iterator"}[${output}]:`,
      ...doc,
      `        answers: ${isAsync ? "AsyncIterator" : "Iterator"}[${output}]`,
      `        answers = self._client.stream(${name}, request, ${GIVEN}).${isAsync ? "__aiter__" : "__iter__"}()`,
      "        return answers",
    ],
    client_streaming: [
      `    ${def} ${member}(self, ${requests}, ${OPTIONS}) -> ${output}:`,
      ...doc,
      `        answer: ${output} = ${wait}self._client.client_stream${later}(${name}, requests, ${GIVEN})`,
      "        return answer",
    ],
    bidi_streaming: [
      `    ${def} ${member}(self, ${OPTIONS}) -> ${stream}[${input}, ${output}]:`,
      ...doc,
      `        stream: ${stream}[${input}, ${output}] = ${wait}self._client.bidi_stream${later}(${name}, ${GIVEN})`,
      "        return stream",
    ],
  };
  return ["", ...parts[method.methodKind]];
}

function servicerLines({ desc, servicer, asyncServicer }: NamedService, writing: Writing): string[] {
  const { code, isAsync } = writing;
  const named = code.services.length === 1 ? "" : `, name="${desc.name}"`;
  const about = `What a program that offers ${code.serviceId} ${code.version} has to write, ${isAsync ? "with asyncio" : "blocking"}.`;
  return [
    "",
    "",
    `@service("${code.serviceId}", version="${code.version}"${named}, contract=CONTRACT)`,
    `class ${isAsync ? asyncServicer : servicer}(ABC):`,
    ...docString(about, "    "),
    ...desc.methods.flatMap((method) => handlerLines(method, writing)),
  ];
}

function handlerLines(method: DescMethod, { code, names, isAsync }: Writing): string[] {
  const takesStream = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  const givesStream = method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
  const input = messageType(method.input, names, "read");
  const output = messageType(method.output, names, "given");
  const iterator = isAsync ? "AsyncIterator" : "Iterator";
  const request = takesStream ? `requests: ${iterator}[${input}]` : `request: ${input}`;
  const answer = givesStream ? `${iterator}[${output}]` : output;
  // An async generator is no coroutine: its type is that of a plain function.
  const def = isAsync && !givesStream ? "async def" : "def";
  const doc = docString(code.commentOf(method), "        ");
  return [
    "",
    "    @abstractmethod",
    `    @method(name="${method.name}")`,
    `    ${def} ${pythonName(snakeName(method.name))}(self, ${request}, context: CallContext) -> ${answer}:`,
    ...(doc.length > 0 ? doc : ["        ..."]),
  ];
}

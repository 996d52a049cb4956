import { type DescMethod, type JsonValue, toJson } from "@bufbuild/protobuf";
import type { KnownMethod } from "@hms/direct-calls";
import { type CallOptions, HmsError } from "@hms/kernel";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { requestMessage, requestTexts } from "../ffi/request-text.ts";
import { askedService, loadMethod } from "../ffi/service-contract.ts";
import { parseDuration } from "../parse-option.ts";

/** Calls a method through the platform, which decides and finds the service. */
export async function run(invocation: Invocation): Promise<number> {
  const { args, options, globals, session, output, signal } = invocation;
  const [service = "", name = "", ...words] = args;
  const asked = askedService(service, globals.environment);
  const method = await loadMethod(session(), { asked, name }, { signal });
  const { desc } = method;
  const takesStream = desc.methodKind === "client_streaming" || desc.methodKind === "bidi_streaming";
  const texts = await requestTexts(words, desc.input, takesStream);
  const requests = texts.map((content) => requestMessage(desc.input, content));
  if (options.dryRun === true) {
    for (const request of requests)
      output.document(toJson(desc.input, request as never, { registry: method.types as never }));
    return ExitCode.OK;
  }
  const callOptions = {
    signal,
    timeoutMs: parseDuration("--timeout", String(options.timeout)),
    metadata: { ...metadataOf(options.metadata), "x-hms-environment": asked.environment },
  };
  await call(invocation, { method, requests, callOptions });
  return ExitCode.OK;
}

interface Made {
  readonly method: KnownMethod;
  readonly requests: unknown[];
  readonly callOptions: CallOptions;
}

async function call({ session, output }: Invocation, { method, requests, callOptions }: Made): Promise<void> {
  const { desc } = method;
  const { platform } = session();
  if (desc.methodKind === "unary") {
    const answer = await platform.unary(desc as never, requests[0] as never, callOptions);
    output.document(answerJson(method, answer));
    return;
  }
  const answers = platform.stream(desc as DescMethod as never, each(requests) as never, callOptions);
  for await (const answer of answers) {
    if (desc.methodKind === "client_streaming") output.document(answerJson(method, answer));
    else output.jsonLine(answerJson(method, answer));
  }
}

function answerJson({ desc, types }: KnownMethod, answer: unknown): JsonValue {
  return toJson(desc.output, answer as never, { alwaysEmitImplicit: true, registry: types as never });
}

async function* each(requests: unknown[]): AsyncGenerator<unknown> {
  yield* requests;
}

function metadataOf(pairs: string | boolean | undefined): Record<string, string> {
  if (typeof pairs !== "string") return {};
  return Object.fromEntries(
    pairs.split(",").map((pair) => {
      const [, name, value] = /^([a-z0-9-]+)=(.*)$/.exec(pair) ?? [];
      if (name !== undefined && value !== undefined) return [name, value];
      throw new HmsError("INVALID_ARGUMENT", `--metadata has "${pair}": write name=value, names in lower case.`);
    }),
  );
}

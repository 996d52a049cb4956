import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import { readDescriptorSet } from "@hms/descriptors";

/** A span as a process has exported it. */
export interface CollectedSpan {
  /** The `service.name` of the process. */
  process: string;
  traceId: string;
  spanId: string;
  /** Empty: it has none. */
  parent: string;
  name: string;
  kind: "INTERNAL" | "SERVER" | "CLIENT" | "PRODUCER" | "CONSUMER";
  failed: boolean;
}

/** OTLP's messages as JSON, whichever way they came. */
interface Exported {
  resourceSpans?: {
    resource?: { attributes?: { key: string; value: { stringValue?: string } }[] };
    scopeSpans?: { spans?: ExportedSpan[] }[];
  }[];
}

interface ExportedSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number | string;
  status?: { code?: number | string };
}

/** An OTLP/HTTP collector; `contract` is that of the trace service as a FileDescriptorSet, for those who send protobuf. */
export interface SpanCollector extends AsyncDisposable {
  readonly endpoint: string;
  readonly spans: readonly CollectedSpan[];
  /** How spans came, by process: "application/json", "application/x-protobuf". */
  readonly encodings: ReadonlyMap<string, string>;
}

const KINDS = ["INTERNAL", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"] as const;

/** Collects spans that programs send to `/v1/traces`, in JSON (OTLP 1.x: ids in hexadecimal) or protobuf. */
export async function startSpanCollector(contract: Uint8Array): Promise<SpanCollector> {
  const request = readDescriptorSet(contract).getMessage(
    "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
  );
  if (request === undefined) throw new Error("The contract has no trace service.");
  const spans: CollectedSpan[] = [];
  const encodings = new Map<string, string>();
  const server = createServer(async (incoming, answer) => {
    const body = await buffer(incoming);
    const type = incoming.headers["content-type"] ?? "";
    const isJson = type === "application/json";
    const exported = (isJson ? JSON.parse(body.toString()) : toJson(request, fromBinary(request, body))) as Exported;
    const taken = incoming.url === "/v1/traces" ? spansOf(exported, isJson ? same : hexOfBase64) : [];
    spans.push(...taken);
    for (const { process } of taken) encodings.set(process, type);
    answer.writeHead(incoming.url === "/v1/traces" ? 200 : 404, { "content-type": type });
    answer.end(isJson ? "{}" : undefined);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    encodings,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

const same = (id: string) => id;
const hexOfBase64 = (id: string) => Buffer.from(id, "base64").toString("hex");

function spansOf({ resourceSpans = [] }: Exported, id: (text: string) => string): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans = [] }) => {
    const named = resource?.attributes?.find(({ key }) => key === "service.name")?.value.stringValue ?? "";
    return scopeSpans.flatMap(({ spans = [] }) =>
      spans.map((span) => ({
        process: named,
        traceId: id(span.traceId),
        spanId: id(span.spanId),
        parent: id(span.parentSpanId ?? ""),
        name: span.name,
        kind: typeof span.kind === "number" ? (KINDS[span.kind] ?? "INTERNAL") : kindOf(span.kind),
        failed: [2, "STATUS_CODE_ERROR"].includes(span.status?.code ?? 0),
      })),
    );
  });
}

const kindOf = (name: string) => name.replace("SPAN_KIND_", "") as CollectedSpan["kind"];

/** A trace as a tree, one line for each span: "  books SERVER demo.books.v1.BooksService/Settle"; siblings by name. */
export function treeOf(spans: readonly CollectedSpan[], parent = "", indent = ""): string[] {
  const text = ({ process, kind, name, failed }: CollectedSpan) =>
    `${process} ${kind} ${name}${failed ? " failed" : ""}`;
  return spans
    .filter((span) => span.parent === parent)
    .sort((one, other) => (text(one) < text(other) ? -1 : 1))
    .flatMap((span) => [indent + text(span), ...treeOf(spans, span.spanId, `${indent}  `)]);
}

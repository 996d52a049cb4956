import type { HmsError } from "@hms/kernel";
import { errorJson } from "./error-answer.ts";

/** The media types of a stream of messages, the default first. */
export const STREAM_TYPES = ["application/x-ndjson", "text/event-stream", "application/json"] as const;

/** One of them. */
export type StreamType = (typeof STREAM_TYPES)[number];

/** How a stream of JSON texts is written; every text is one message. */
export interface StreamFormat {
  /** Before the first message. */
  readonly opening: string;
  message(json: string, position: number): string;
  /** The last thing of a stream that failed after it began. */
  failure(error: HmsError, position: number): string;
  /** The last thing of a stream that is complete. */
  closing(position: number): string;
  /** What may be written at any time between messages to keep the connection; empty for nothing. */
  readonly pulse: string;
}

/** When a page that lost its event stream asks again. */
const RETRY_MS = 3000;

const ndjson: StreamFormat = {
  opening: "",
  message: (json) => `${json}\n`,
  failure: (error) => `${errorJson(error)}\n`,
  closing: () => "",
  pulse: "",
};

// A page's EventSource asks again after the end of a stream: it is told when there is nothing more to come.
const events: StreamFormat = {
  opening: `retry: ${RETRY_MS}\n\n`,
  message: (json, position) => `id: ${position}\nevent: message\ndata: ${json}\n\n`,
  failure: (error, position) => `id: ${position}\nevent: error\ndata: ${errorJson(error)}\n\n`,
  closing: (position) => `id: ${position}\nevent: end\ndata: {}\n\n`,
  pulse: ": still here\n\n",
};

const array: StreamFormat = {
  opening: "[",
  message: (json, position) => (position === 0 ? json : `,\n${json}`),
  failure: (error, position) => `${position === 0 ? "" : ",\n"}${errorJson(error)}]\n`,
  closing: () => "]\n",
  pulse: "",
};

/** The format of each media type: NDJSON, server-sent events, or one JSON array that grows. */
export const STREAM_FORMATS: Readonly<Record<StreamType, StreamFormat>> = {
  "application/x-ndjson": ndjson,
  "text/event-stream": events,
  "application/json": array,
};

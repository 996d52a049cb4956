import { type BodyEdit, isJsonType } from "./body-changes.ts";
import { fieldValue } from "./field-changes.ts";
import type { ResponseHead } from "./response-head.ts";

/** Says what a body was; of another one it would be wrong. */
const OF_THE_BODY = /^(?:content-length|content-md5|digest|content-digest|repr-digest|accept-ranges):/i;

/** An answer that is held back until all of it is there, because it is changed. */
export class HeldAnswer {
  readonly #head: ResponseHead;
  readonly #edit: BodyEdit;
  readonly #chunks: Buffer[] = [];
  #size = 0;

  constructor(head: ResponseHead, edit: BodyEdit) {
    this.#head = head;
    this.#edit = edit;
  }

  /** Takes a part of the body; false: it is too large. */
  take(bytes: Buffer, start: number, end: number): boolean {
    this.#size += end - start;
    if (this.#size > this.#edit.maxBytes) return false;
    this.#chunks.push(Buffer.from(bytes.subarray(start, end)));
    return true;
  }

  /** The answer is there: its head says what the changed body is, which is answered; a text says why it cannot be changed. */
  finish(): Buffer | string {
    const head = this.#head;
    if (fieldValue(head.lines, "content-encoding") !== "") return "is compressed, though nobody asked for that";
    const body = Buffer.concat(this.#chunks);
    const edited = body.length === 0 ? { bytes: body } : this.#edit.apply(body);
    if ("problem" in edited) return edited.problem;
    head.lines = `${withoutBodyFields(head.lines)}content-length: ${edited.bytes.length}\r\n`;
    head.contentLength = edited.bytes.length;
    head.chunked = false;
    return edited.bytes;
  }
}

/** Whether an answer is one that is changed: JSON, with a body. */
export function isChanged(head: ResponseHead, isHead: boolean): boolean {
  if (!isJsonType(fieldValue(head.lines, "content-type"))) return false;
  if (isHead) {
    // How long the changed one would be is not known.
    head.lines = withoutBodyFields(head.lines);
    head.contentLength = -1;
    head.chunked = false;
  }
  return !isHead && head.status !== 204 && head.status !== 304;
}

function withoutBodyFields(lines: string): string {
  return lines
    .split("\r\n")
    .filter((line) => !OF_THE_BODY.test(line))
    .map((line) => (/^etag:\s*"/i.test(line) ? line.replace(/^etag:\s*/i, "etag: W/") : line))
    .join("\r\n");
}

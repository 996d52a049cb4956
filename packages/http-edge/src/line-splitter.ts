import { type EdgeFault, fault } from "./edge-fault.ts";

const NEWLINE = 10;

/** Cuts a stream of bytes into lines without their ends; empty lines are left out, the last one needs no end. */
export async function* splitLines(chunks: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Buffer> {
  let pending: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const line = Buffer.concat([...pending, chunk.subarray(from, end)]);
      if (line.length > maxBytes) throw tooLong(maxBytes);
      pending = [];
      bytes = 0;
      from = end + 1;
      if (!isBlank(line)) yield line;
    }
    if (from < chunk.length) pending.push(chunk.subarray(from));
    bytes += chunk.length - from;
    if (bytes > maxBytes) throw tooLong(maxBytes);
  }
  const last = Buffer.concat(pending);
  if (!isBlank(last)) yield last;
}

function isBlank(line: Buffer): boolean {
  return line.length === 0 || (line.length < 16 && line.toString("latin1").trim() === "");
}

function tooLong(maxBytes: number): EdgeFault {
  return fault("RESOURCE_EXHAUSTED", `A message is larger than ${maxBytes} bytes.`, {
    status: 413,
    reason: "BODY_TOO_LARGE",
  });
}

/** The method of Node's buffers that `toString("latin1", …)` ends in; missing in their published types. */
interface Latin1Bytes {
  latin1Slice(start: number, end: number): string;
}

/** The bytes as text, one character each; written back as "latin1" they are the same bytes. */
export function latin1(bytes: Buffer, start: number, end: number): string {
  return (bytes as unknown as Latin1Bytes).latin1Slice(start, end);
}

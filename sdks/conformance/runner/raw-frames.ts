/** A frame as scenarios write it; which parts it has follows from its kind. */
export interface FrameText {
  kind?: string;
  stream?: number;
  flags?: number;
  type?: number;
  data?: string;
  length?: number;
  hex?: string;
  service?: string;
  method?: string;
  payload?: string;
  json?: unknown;
  codec?: number;
  timeoutMs?: number;
  metadata?: Record<string, string> | [string, string][];
  error?: { code: string; message?: string; reason?: string };
  hello?: { version: number; features: number; streamWindow: number; maxStreams: number };
  bytes?: number;
  lastStream?: number;
}

/** A frame that came. */
export interface RawFrame {
  stream: number;
  type: number;
  flags: number;
  data: Buffer;
}

const CODES = (
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED " +
  "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
).split(" ");

const TYPES: Record<string, [type: number, flags: number]> = {
  request: [1, 0],
  response: [2, 0],
  data: [3, 0],
  end: [3, 5],
  hello: [0x10, 0],
  cancel: [0x11, 0],
  window: [0x12, 0],
  ping: [0x13, 0],
  pong: [0x13, 1],
  goaway: [0x14, 0],
  headers: [0x15, 0],
};

function varint(value: number): Buffer {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  return Buffer.from([...bytes, Number(rest)]);
}

const numberField = (field: number, value: number) => Buffer.concat([varint(field * 8), varint(value)]);
const bytesField = (field: number, value: Buffer | string) => {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([varint(field * 8 + 2), varint(bytes.length), bytes]);
};

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function status({ code, message = "", reason }: NonNullable<FrameText["error"]>): Buffer {
  const parts = [numberField(1, CODES.indexOf(code)), bytesField(2, message)];
  if (reason) {
    const info = Buffer.concat([bytesField(1, reason), bytesField(2, "hms-sys")]);
    const packed = [bytesField(1, "type.googleapis.com/google.rpc.ErrorInfo"), bytesField(2, info)];
    parts.push(bytesField(3, Buffer.concat(packed)));
  }
  return Buffer.concat(parts);
}

const messageOf = ({ json, payload }: FrameText) =>
  json === undefined ? Buffer.from(payload ?? "", "hex") : Buffer.from(JSON.stringify(json));

function metadataFields({ metadata = {} }: FrameText): Buffer[] {
  const pairs = Array.isArray(metadata) ? metadata : Object.entries(metadata);
  return pairs.map(([key, value]) => bytesField(5, Buffer.concat([bytesField(1, key), bytesField(2, value)])));
}

function metadataOf(data: Buffer): Record<string, string> {
  const pairs = [...fields(data)].filter(([field]) => field === 5).map(([, pair]) => new Map(fields(pair as Buffer)));
  return Object.fromEntries(pairs.map((pair) => [String(pair.get(1)), String(pair.get(2) ?? "")]));
}

function requestData(text: FrameText): Buffer {
  const message = messageOf(text);
  const codec = text.codec ?? (text.json === undefined ? 0 : 1);
  return Buffer.concat([
    bytesField(1, text.service ?? ""),
    bytesField(2, text.method ?? ""),
    ...metadataFields(text),
    ...(text.timeoutMs === undefined ? [] : [numberField(4, text.timeoutMs * 1e6)]),
    ...(codec ? [numberField(16, codec)] : []),
    ...(message.length > 0 ? [bytesField(3, message)] : []),
  ]);
}

const written: Record<string, (text: FrameText) => Buffer> = {
  request: requestData,
  response(text) {
    const message = messageOf(text);
    if (text.error) return bytesField(1, status(text.error));
    return message.length > 0 ? bytesField(2, message) : message;
  },
  hello({ hello }) {
    const { version = 1, features = 0, streamWindow = 0, maxStreams = 0 } = hello ?? {};
    return Buffer.concat([version, features, streamWindow, maxStreams].map((value, at) => numberField(at + 1, value)));
  },
  headers: (text) => Buffer.concat(metadataFields(text)),
  window: ({ bytes = 0 }) => u32(bytes),
  goaway: ({ lastStream = 0, error }) => Buffer.concat([u32(lastStream), error ? status(error) : Buffer.alloc(0)]),
};

const dataOf = (text: FrameText) => (written[text.kind ?? ""] ?? messageOf)(text);

/** The bytes of a frame. */
export function frameBytes(text: FrameText): Buffer {
  if (text.hex !== undefined) return Buffer.from(text.hex, "hex");
  const [type, flags] = TYPES[text.kind ?? ""] ?? [text.type ?? 0, 0];
  const data = text.type === undefined ? dataOf(text) : Buffer.from(text.data ?? "", "hex");
  const header = Buffer.alloc(10);
  header.writeUInt32BE(text.length ?? data.length, 0);
  header.writeUInt32BE(text.stream ?? 0, 4);
  header.writeUInt8(type, 8);
  header.writeUInt8(text.flags ?? flags, 9);
  return Buffer.concat([header, data]);
}

/** The fields of a protobuf message: numbers and bytes, in their order. */
function* fields(bytes: Buffer): Generator<[number, bigint | Buffer]> {
  let at = 0;
  const read = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(read());
    if (key % 8 === 0) yield [key >> 3, BigInt.asIntN(64, read())];
    else {
      const length = Number(read());
      yield [key >> 3, bytes.subarray(at, at + length)];
      at += length;
    }
  }
}

function readStatus(bytes: Buffer): FrameText["error"] | undefined {
  let code = 0;
  const found: NonNullable<FrameText["error"]> = { code: "OK", message: "" };
  for (const [field, value] of fields(bytes)) {
    if (field === 1) code = Number(value);
    else if (field === 2) found.message = String(value);
    else if (field === 3) {
      const parts = new Map(fields(value as Buffer));
      if (String(parts.get(1)).endsWith("google.rpc.ErrorInfo")) {
        found.reason = String(new Map(fields(parts.get(2) as Buffer)).get(1) ?? "");
      }
    }
  }
  found.code = CODES[code] ?? `${code}`;
  return code === 0 ? undefined : found;
}

const parsed = (message: Buffer) => {
  try {
    return message.length === 0 ? {} : (JSON.parse(message.toString("utf8")) as unknown);
  } catch {
    return undefined;
  }
};

const read: Record<string, (data: Buffer) => Partial<FrameText>> = {
  request(data) {
    const text: Partial<FrameText> = { payload: "", metadata: metadataOf(data), json: {} };
    for (const [field, value] of fields(data)) {
      if (field === 1) text.service = String(value);
      else if (field === 2) text.method = String(value);
      else if (field === 3)
        Object.assign(text, { payload: (value as Buffer).toString("hex"), json: parsed(value as Buffer) });
      else if (field === 4) text.timeoutMs = Number(value) / 1e6;
      else if (field === 16) text.codec = Number(value);
    }
    return text;
  },
  response(data) {
    const text: Partial<FrameText> = { payload: "", json: {} };
    for (const [field, value] of fields(data)) {
      if (field === 1) {
        const error = readStatus(value as Buffer);
        if (error) text.error = error;
      } else if (field === 2)
        Object.assign(text, { payload: (value as Buffer).toString("hex"), json: parsed(value as Buffer) });
    }
    return text;
  },
  data: (data) => ({ payload: data.toString("hex"), json: parsed(data) }),
  hello(data) {
    const found = new Map(fields(data));
    const at = (field: number) => Number(found.get(field) ?? 0);
    return { hello: { version: at(1), features: at(2), streamWindow: at(3), maxStreams: at(4) } };
  },
  headers: (data) => ({ metadata: metadataOf(data) }),
  window: (data) => ({ bytes: data.readUInt32BE(0) }),
  ping: (data) => ({ payload: data.toString("hex") }),
  pong: (data) => ({ payload: data.toString("hex") }),
  goaway(data) {
    const error = readStatus(data.subarray(4));
    return { lastStream: data.readUInt32BE(0), ...(error ? { error } : {}) };
  },
};

/** A frame that came, as scenarios write it. */
export function frameText({ stream, type, flags, data }: RawFrame): FrameText {
  const kind = Object.entries(TYPES).find(
    ([, [code, wanted]]) => code === type && (type <= 2 || (wanted & 5) === (flags & 5)),
  )?.[0];
  const named = kind ?? (type === 3 ? "data" : `type ${type}`);
  return { kind: named, stream, flags, type, ...(read[named]?.(data) ?? {}) };
}

/** What the runner says of itself. */
export const HELLO: FrameText = {
  kind: "hello",
  stream: 1,
  hello: { version: 1, features: 31, streamWindow: 262_144, maxStreams: 1024 },
};

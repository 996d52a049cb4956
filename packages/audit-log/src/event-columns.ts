import { BinaryReader, type WireType } from "@bufbuild/protobuf/wire";

/** What the log can be searched by: columns beside the event's bytes that must say what the bytes say. */
export interface EventColumns {
  shard: string;
  seq: number;
  /** Microseconds since 1970. */
  recordedAt: number;
  time: number;
  outcome: number;
  /** "user:anna". */
  actor: string;
  /** "hms.sys.deployment.v1.DeploymentService/Deploy". */
  method: string;
  resource: string;
  environment: string;
  requestId: string;
  traceId: string;
}

/** Reads what is searched by out of an event's bytes; some five times as fast as decoding all of it. */
export function eventColumns(bytes: Uint8Array): EventColumns {
  const found = {
    shard: "",
    seq: 0,
    recordedAt: 0,
    time: 0,
    outcome: 0,
    actor: "",
    method: "",
    resource: "",
    environment: "",
    requestId: "",
    traceId: "",
  };
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) readField(reader, found);
  return found;
}

function readField(reader: BinaryReader, found: EventColumns): void {
  const [field, wire] = reader.tag();
  const read = READERS[field];
  if (read === undefined) reader.skip(wire, field);
  else read(reader, found, wire);
}

type Read = (reader: BinaryReader, found: EventColumns, wire: WireType) => void;

const READERS: Readonly<Record<number, Read>> = {
  1: (reader, found) => {
    found.shard = textOf(reader);
  },
  2: (reader, found) => {
    found.seq = Number(reader.int64());
  },
  3: (reader, found) => {
    found.recordedAt = timeOf(reader);
  },
  4: (reader, found) => {
    found.time = timeOf(reader);
  },
  5: (reader, found) => {
    found.outcome = reader.int32();
  },
  6: (reader, found) => {
    found.actor = actorOf(reader);
  },
  7: (reader, found) => {
    found.method = `${textOf(reader)}/`;
  },
  8: (reader, found) => {
    found.method += textOf(reader);
  },
  10: (reader, found) => {
    found.resource = textOf(reader);
  },
  11: (reader, found) => {
    found.environment = textOf(reader);
  },
  15: (reader, found) => {
    found.traceId = textOf(reader);
  },
  16: (reader, found) => {
    found.requestId = textOf(reader);
  },
};

/** PostgreSQL's text has no zero characters. */
function textOf(reader: BinaryReader): string {
  const text = reader.string();
  return text.includes("\0") ? text.replaceAll("\0", "\ufffd") : text;
}

function timeOf(reader: BinaryReader): number {
  const end = reader.uint32() + reader.pos;
  let microseconds = 0;
  while (reader.pos < end) {
    const [field] = reader.tag();
    const value = Number(reader.int64());
    microseconds += field === 1 ? value * 1e6 : Math.floor(value / 1000);
  }
  return microseconds;
}

function actorOf(reader: BinaryReader): string {
  const end = reader.uint32() + reader.pos;
  let [kind, id] = ["", ""];
  while (reader.pos < end) {
    const [field, wire] = reader.tag();
    if (field === 1) kind = textOf(reader);
    else if (field === 2) id = textOf(reader);
    else reader.skip(wire, field);
  }
  return `${kind}:${id}`;
}

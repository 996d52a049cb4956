import { BinaryReader } from "@bufbuild/protobuf/wire";

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
  /**
   * What else is searched for, each in a line with a line break before and behind: "code:…", "type:…", "policy:…",
   * "address:…", "credential:…". Empty for events of releases that had no codes.
   */
  facts: string;
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
    facts: "",
  };
  const lines: string[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) readField(reader, found, lines);
  // The code comes behind all others but one: an event without one is of a release that had no facts.
  if (lines.some((line) => line.startsWith("code:"))) found.facts = `\n${lines.join("\n")}\n`;
  return found;
}

function readField(reader: BinaryReader, found: EventColumns, lines: string[]): void {
  const [field, wire] = reader.tag();
  const read = READERS[field];
  if (read === undefined) reader.skip(wire, field);
  else read(reader, found, lines);
}

type Read = (reader: BinaryReader, found: EventColumns, lines: string[]) => void;

/** A fact is one line, whatever stands in it. */
const factOf = (name: string, text: string) => `${name}:${text.replaceAll("\n", " ")}`;

const fact =
  (name: string): Read =>
  (reader, _, lines) => {
    lines.push(factOf(name, textOf(reader)));
  };

/** Texts of some fields within a message. */
const facts =
  (names: Readonly<Record<number, string>>): Read =>
  (reader, _, lines) => {
    const end = reader.uint32() + reader.pos;
    while (reader.pos < end) {
      const [field, wire] = reader.tag();
      const name = names[field];
      if (name === undefined) reader.skip(wire, field);
      else lines.push(factOf(name, textOf(reader)));
    }
  };

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
  6: (reader, found, lines) => {
    found.actor = actorOf(reader, lines);
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
  12: facts({ 1: "policy" }),
  14: facts({ 3: "address" }),
  15: (reader, found) => {
    found.traceId = textOf(reader);
  },
  16: (reader, found) => {
    found.requestId = textOf(reader);
  },
  21: fact("code"),
  22: fact("type"),
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

function actorOf(reader: BinaryReader, lines: string[]): string {
  const end = reader.uint32() + reader.pos;
  let [kind, id] = ["", ""];
  while (reader.pos < end) {
    const [field, wire] = reader.tag();
    if (field === 1) kind = textOf(reader);
    else if (field === 2) id = textOf(reader);
    else if (field === 4) lines.push(factOf("credential", textOf(reader)));
    else reader.skip(wire, field);
  }
  return `${kind}:${id}`;
}

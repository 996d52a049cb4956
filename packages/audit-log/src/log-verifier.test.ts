import { generateKeyPairSync } from "node:crypto";
import type { AuditEvent } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import {
  auditEventBytes,
  CHAIN_START,
  CheckpointBook,
  CheckpointSigner,
  chainMac,
  checkpointHash,
  EpochKeys,
  eventColumns,
  type LogReport,
  type LogRow,
  LogVerifier,
  placedEventBytes,
} from "./index.ts";

/** A generator of numbers that are the same in every run (mulberry32). */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const root = Buffer.alloc(32, 7);
const { privateKey } = generateKeyPairSync("ed25519");
const signer = new CheckpointSigner(privateKey.export({ format: "der", type: "pkcs8" }));

function eventOf(random: (below: number) => number): AuditEvent {
  const text = (most: number) =>
    Array.from({ length: random(most) }, () => String.fromCodePoint(random(0x2000))).join("");
  return {
    time: new Date(1.7e12 + random(1e9)),
    principal: {
      kind: (["operator", "user", "anonymous"] as const)[random(3)] ?? "user",
      id: text(9),
      mfa: random(2) === 1,
    },
    method: `${text(20)}/${text(5)}`,
    permission: text(10),
    resource: text(30),
    outcome: (["OK", "denied", "NOT_FOUND"] as const)[random(3)] ?? "OK",
    reason: text(40),
    requestId: text(12),
    environment: text(4),
    durationMs: random(1e6) / 1000,
    ...(random(2) === 1 ? { request: { text: text(50) } } : {}),
    ...(random(2) === 1 ? { policies: [text(5), text(5)], source: { address: text(5) } } : {}),
  };
}

interface Log {
  readonly rows: LogRow[];
  readonly lines: string[];
}

/** A log of one to three chains over several epochs, with checkpoints; the last one covers everything. */
function logOf(random: (below: number) => number): Log {
  const keys = new EpochKeys(root);
  const rows: LogRow[] = [];
  const byShard = ["agent", "server", "x"].slice(0, 1 + random(3)).map((shard) => {
    const own: LogRow[] = [];
    let [epoch, mac] = [random(3), CHAIN_START];
    for (let seq = 1; seq <= 2 + random(12); seq += 1) {
      if (random(4) === 0) epoch += 1 + random(2);
      const event = placedEventBytes({ shard, seq, recordedAt: 1.7e15 + seq }, auditEventBytes(eventOf(random)));
      mac = chainMac(keys.keyOf(shard, epoch), mac, event);
      own.push({ shard, seq, epoch, event, mac, columns: eventColumns(event) });
    }
    rows.push(...own);
    return [shard, own] as const;
  });
  const lines: string[] = [];
  for (const part of [0.5, 1]) {
    const shards = Object.fromEntries(
      byShard.map(([shard, own]) => {
        const { seq, mac } = own[Math.ceil(own.length * part) - 1] as LogRow;
        return [shard, { seq, mac: Buffer.from(mac).toString("base64") }];
      }),
    );
    const previous = lines.length === 0 ? "" : checkpointHash(lines.at(-1) ?? "");
    lines.push(signer.sign({ number: lines.length + 1, time: "2026-01-31T12:00:00Z", previous, shards }));
  }
  return { rows, lines };
}

function verify({ rows, lines }: Log): LogReport {
  const checkpoints = new CheckpointBook(signer.publicKey);
  for (const line of lines) checkpoints.add(line);
  const verifier = new LogVerifier({ root, checkpoints });
  for (const row of rows) verifier.add(row);
  return verifier.finish();
}

const flipped = (bytes: Uint8Array, random: (below: number) => number) => {
  const copy = Buffer.from(bytes);
  const at = random(copy.length);
  copy[at] = (copy[at] as number) ^ (1 << random(8));
  return copy;
};

/** Ways to do something to a log; each answers with the log and the first row that it is seen at. */
const ATTACKS: Readonly<Record<string, (log: Log, random: (below: number) => number) => { log: Log; at: LogRow }>> = {
  "a bit of an event": (log, random) => change(log, random, (row) => ({ ...row, event: flipped(row.event, random) })),
  "a bit of a MAC": (log, random) => change(log, random, (row) => ({ ...row, mac: flipped(row.mac, random) })),
  "an epoch": (log, random) => change(log, random, (row) => ({ ...row, epoch: row.epoch + 1 + random(5) })),
  "a column": (log, random) =>
    change(log, random, (row) => {
      const names = Object.keys(row.columns) as (keyof typeof row.columns)[];
      const name = names[random(names.length)] as keyof typeof row.columns;
      const value = row.columns[name];
      return { ...row, columns: { ...row.columns, [name]: typeof value === "number" ? value + 1 : `${value}x` } };
    }),
  "an event that is new, with a MAC of an attacker": (log, random) =>
    change(log, random, (row) => {
      const { shard, seq } = row;
      const event = placedEventBytes({ shard, seq, recordedAt: 1 }, auditEventBytes(eventOf(random)));
      return { ...row, event, mac: flipped(row.mac, random), columns: eventColumns(event) };
    }),
  "rows that are gone": ({ rows, lines }, random) => {
    const at = rows[random(rows.length)] as LogRow;
    const last = at.seq + random(3);
    const rest = rows.filter(({ shard, seq }) => shard !== at.shard || seq < at.seq || seq > last);
    return { log: { rows: rest, lines }, at };
  },
  "an end that is gone": ({ rows, lines }, random) => {
    const at = rows[random(rows.length)] as LogRow;
    return { log: { rows: rows.filter(({ shard, seq }) => shard !== at.shard || seq < at.seq), lines }, at };
  },
};

function change({ rows, lines }: Log, random: (below: number) => number, how: (row: LogRow) => LogRow) {
  const index = random(rows.length);
  const at = rows[index] as LogRow;
  return { log: { rows: rows.map((row, n) => (n === index ? how(row) : row)), lines }, at };
}

const SEEDS = Array.from({ length: 60 }, (_, seed) => seed);

test("any log that nobody has touched is sound", () => {
  for (const seed of SEEDS) {
    const log = logOf(numbers(seed));
    expect(verify(log), `seed ${seed}`).toMatchObject({ integrity: [], completeness: [], events: log.rows.length });
  }
});

describe("in any log verification finds, and at its place,", () => {
  test.each(Object.keys(ATTACKS))("%s", (name) => {
    for (const seed of SEEDS) {
      const random = numbers(seed);
      const { log, at } = (ATTACKS[name] as (typeof ATTACKS)[string])(logOf(random), random);
      const { integrity, completeness } = verify(log);
      const found = [...integrity, ...completeness].map(({ shard, seq }) => `${shard} ${seq}`);
      expect(found, `seed ${seed}`).toContain(`${at.shard} ${at.seq}`);
      // Nothing is said of what stands before, nor of other chains.
      const wrong = [...integrity, ...completeness].filter(({ shard, seq }) => shard !== at.shard || seq < at.seq);
      expect(wrong, `seed ${seed}`).toEqual([]);
    }
  });
});

test("who has today's key can write neither yesterday's events anew nor another chain's", () => {
  const log = logOf(numbers(1));
  const keys = new EpochKeys(root);
  const [first, second] = log.rows as [LogRow, LogRow];
  const later = new EpochKeys(keys.keyOf("unused", 0).export());
  const event = placedEventBytes({ shard: first.shard, seq: 1, recordedAt: 1 }, auditEventBytes(eventOf(numbers(2))));
  const mac = chainMac(later.keyOf(first.shard, 1), CHAIN_START, event);
  const forged = { ...first, event, mac, columns: eventColumns(event) };
  expect(verify({ ...log, rows: [forged, second, ...log.rows.slice(2)] }).integrity.length).toBeGreaterThan(0);
});

import { describe, expect, test } from "vitest";
import { FrameType } from "./frame.ts";
import { type Frame, FrameReader } from "./frame-reader.ts";
import { frameBytes } from "./raw-peer.ts";

function reading() {
  const seen: string[] = [];
  const kept: Buffer[] = [];
  const reader = new FrameReader({
    frame: (frame: Frame) => {
      const data = frame.bytes.subarray(frame.start, frame.end);
      kept.push(data);
      seen.push(`${frame.stream}/${frame.type}/${frame.flags}:${data.toString("latin1").slice(0, 20)}`);
    },
    oversized: (frame: Frame, length) => seen.push(`${frame.stream}/${frame.type} oversized ${length}`),
    garbage: () => seen.push("garbage"),
  });
  return { reader, seen, kept };
}

const three = Buffer.concat([
  frameBytes(1, { type: FrameType.REQUEST, flags: 2 }, Buffer.from("first")),
  frameBytes(0xff_ff_ff_ff, { type: FrameType.DATA, flags: 5 }),
  frameBytes(3, { type: 0x77 }, Buffer.from("third")),
]);
const expected = ["1/1/2:first", "4294967295/3/5:", "3/119/0:third"];

describe("a frame reader", () => {
  test("finds the same frames however the bytes are cut", () => {
    for (let size = 1; size <= three.length; size += 1) {
      const { reader, seen } = reading();
      for (let at = 0; at < three.length; at += size) reader.push(Buffer.from(three.subarray(at, at + size)));
      expect(seen).toEqual(expected);
      expect(reader.idle).toBe(true);
    }
  });

  test("lets its owner keep parts of what it has read", () => {
    const { reader, kept } = reading();
    for (let at = 0; at < three.length; at += 7) reader.push(Buffer.from(three.subarray(at, at + 7)));
    reader.push(three);
    expect(kept.map(String)).toEqual(["first", "", "third", "first", "", "third"]);
  });

  test("discards a frame above 4 MiB and reads on behind it", () => {
    const large = frameBytes(5, { type: FrameType.DATA }, Buffer.alloc((4 << 20) + 1));
    const all = Buffer.concat([large, three]);
    for (const size of [all.length, 4096, 1_000_003]) {
      const { reader, seen } = reading();
      for (let at = 0; at < all.length; at += size) reader.push(all.subarray(at, at + size));
      expect(seen).toEqual(["5/3 oversized 4194305", ...expected]);
    }
  });

  test("takes a frame of exactly 4 MiB in small pieces", () => {
    const { reader, kept } = reading();
    const largest = frameBytes(7, { type: FrameType.REQUEST }, Buffer.alloc(4 << 20, "z"));
    for (let at = 0; at < largest.length; at += 1000) reader.push(largest.subarray(at, at + 1000));
    expect(kept[0]?.equals(Buffer.alloc(4 << 20, "z"))).toBe(true);
  });

  test("stops for good at a length that no peer can mean", () => {
    const { reader, seen } = reading();
    reader.push(Buffer.concat([three, Buffer.from("GET / HTTP/1.1\r\n"), three]));
    reader.push(three);
    expect(seen).toEqual([...expected, "garbage"]);
  });

  test("holds what has arrived, not what a header announces", () => {
    const { reader } = reading();
    const before = process.memoryUsage().arrayBuffers;
    const header = frameBytes(1, { type: FrameType.REQUEST });
    header.writeUInt32BE(4 << 20, 0);
    reader.push(Buffer.concat([header, Buffer.alloc(100)]));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024);
    expect(reader.idle).toBe(false);
  });
});

import { create, toBinary } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { FrameType } from "./frame.ts";
import { metadataFields } from "./metadata-fields.ts";
import { frameBytes } from "./raw-peer.ts";
import { requestPrefix } from "./request-envelope.ts";

/** Repeatable random numbers (xorshift32, G. Marsaglia 2003). */
export function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const lookup = toBinary(
  registry.LookupRequestSchema,
  create(registry.LookupRequestSchema, { serviceId: "hms.cdf.debate", environment: "prod" }),
);
const requestData = Buffer.concat([
  requestPrefix("hms.ffi.v1.RegistryService", "Lookup"),
  metadataFields({ authorization: "Bearer secret", traceparent: "00-1-2-01" }),
  Buffer.from([0x20, 0x80, 0x94, 0xeb, 0xdc, 0x03, 0x1a, lookup.length]),
  lookup,
]);
const good = Buffer.concat([
  frameBytes(1, { type: FrameType.HELLO }, Buffer.from("0801100f18808010", "hex")),
  frameBytes(1, { type: FrameType.REQUEST }, requestData),
  frameBytes(3, { type: FrameType.REQUEST, flags: 2 }, requestData),
  frameBytes(3, { type: FrameType.DATA }, Buffer.from(lookup)),
  frameBytes(3, { type: FrameType.DATA, flags: 5 }),
  frameBytes(1, { type: FrameType.RESPONSE }, Buffer.from("0a070805120361626312020801", "hex")),
]);

/** A conversation of valid frames with some bytes changed and the ends cut off. */
export function mutatedFrames(next: (below: number) => number): Buffer {
  const bytes = Buffer.concat(Array.from({ length: 1 + next(3) }, () => good));
  for (let n = next(12); n > 0; n -= 1) bytes[next(bytes.length)] = next(256);
  const cut = next(4) === 0 ? next(bytes.length) : 0;
  return bytes.subarray(cut, next(4) === 0 ? cut + next(bytes.length - cut + 1) : bytes.length);
}

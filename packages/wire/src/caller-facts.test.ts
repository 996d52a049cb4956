import { describe, expect, test } from "vitest";
import { CallerReader } from "./caller-facts.ts";
import { FrameType } from "./frame.ts";
import { metadataFields } from "./metadata-fields.ts";
import { RequestEnvelope } from "./request-envelope.ts";

const PEER = { transport: "network", peer: "spiffe://hms/env/default/svc/a" } as const;

function reading() {
  const reader = new CallerReader(PEER);
  return (metadata: Record<string, string>) => {
    const envelope = new RequestEnvelope();
    const bytes = metadataFields(metadata);
    envelope.read({ type: FrameType.REQUEST, flags: 0, stream: 1, bytes, start: 0, end: bytes.length });
    const { caller, metadata: rest } = reader.read(envelope);
    if (!("credentials" in caller)) throw new Error("no credentials");
    return { credentials: caller.credentials, metadata: rest };
  };
}

describe("whoever calls on a connection", () => {
  test("is told by token or ticket, and by the connection's own facts", () => {
    const read = reading();
    expect(read({}).credentials).toEqual(PEER);
    expect(read({ authorization: "Bearer abc" }).credentials).toEqual({ ...PEER, token: "abc" });
    expect(read({ authorization: "ticket hms1.a.b" }).credentials).toEqual({ ...PEER, ticket: "hms1.a.b" });
    expect(read({ authorization: "Basic abc" }).credentials).toEqual({ ...PEER, token: undefined });
  });

  test("is the same object for calls that show the same ticket, whatever else they say", () => {
    const read = reading();
    const call = (ticket: string, id: number) => read({ authorization: `Ticket ${ticket}`, "x-request-id": `r-${id}` });
    const first = call("hms1.a.b", 1);
    const other = call("hms1.c.d", 2);
    const again = call("hms1.a.b", 3);
    expect(again.credentials).toBe(first.credentials);
    expect(other.credentials).not.toBe(first.credentials);
    expect({ ...again.metadata }).toEqual({ "x-request-id": "r-3" });
    expect(read({ "x-request-id": "a" }).credentials).toBe(read({ "x-request-id": "b" }).credentials);
  });

  test("is not taken for whoever showed the same twice in one call, or something else beside it", () => {
    const one = metadataFields({ authorization: "Ticket hms1.a.b" });
    const reader = new CallerReader(PEER);
    const shown = (...parts: Buffer[]) => {
      const bytes = Buffer.concat(parts);
      const envelope = new RequestEnvelope();
      envelope.read({ type: FrameType.REQUEST, flags: 0, stream: 1, bytes, start: 0, end: bytes.length });
      const { caller } = reader.read(envelope);
      return "credentials" in caller ? caller.credentials.ticket : undefined;
    };
    let n = 0;
    const more = () => {
      n += 1;
      return metadataFields({ n: String(n) });
    };
    const other = metadataFields({ authorization: "Ticket hms1.c.d" });
    for (let round = 0; round < 3; round += 1) {
      for (let call = 0; call < 3; call += 1) expect(shown(one, more(), one)).toBeUndefined();
      for (let call = 0; call < 3; call += 1) expect(shown(more(), one)).toBe("hms1.a.b");
      expect(shown(one, other, more())).toBeUndefined();
      expect(shown(more())).toBeUndefined();
      expect(shown(other, more())).toBe("hms1.c.d");
    }
  });

  test("is forgotten in the end if too many come by, the eldest first", () => {
    const read = reading();
    const show = (n: number) => read({ authorization: `Ticket ${String(n).padStart(1_000, "0")}`, n: String(n) });
    const first = show(0).credentials;
    expect(show(0).credentials).toBe(first);
    for (let n = 1; n < 200; n += 1) show(n);
    const last = show(199).credentials;
    expect(show(0).credentials).not.toBe(first);
    expect(show(199).credentials).toBe(last);
  });
});

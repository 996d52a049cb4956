import type { mesh } from "@hms/contracts";
import {
  CLASS_IN,
  type DnsAnswer,
  type DnsQuery,
  RecordType,
  ResponseCode,
  readQuery,
  writeAnswer,
  writeFailure,
} from "./dns-message.ts";
import { isMeshName, type MeshNames } from "./mesh-names.ts";
import type { QueryCounts } from "./query-counts.ts";

const TTL_SECONDS = 1;

/** What the names of one environment are answered from. */
export interface NameSource {
  environment: string;
  names: MeshNames;
  /** Resolves once the service's address accepts connections. */
  open: (service: mesh.MeshServiceEntry) => Promise<void>;
  /** Asks the machine's own resolvers; undefined if none answers. */
  forward: (packet: Buffer, protocol: "udp" | "tcp") => Promise<Buffer | undefined>;
  counts: QueryCounts;
}

/** Answers one DNS packet; undefined for what deserves no answer. Never rejects. */
export async function answerPacket(
  packet: Buffer,
  source: NameSource,
  protocol: "udp" | "tcp",
): Promise<Buffer | undefined> {
  const read = readQuery(packet);
  if ("ignore" in read) return undefined;
  if ("code" in read) {
    source.counts.malformed += 1;
    return writeFailure(read.id, read.code);
  }
  const { query } = read;
  if (query.edns !== undefined && query.edns > 0) return writeAnswer(query, { code: ResponseCode.BAD_VERSION });
  if (isMeshName(query.labels)) return writeAnswer(query, await answerMeshName(query, source));
  const answer = await source.forward(packet, protocol).catch(() => undefined);
  source.counts[answer ? "forwarded" : "failed"] += 1;
  return answer ?? writeAnswer(query, { code: ResponseCode.SERVER_FAILURE });
}

async function answerMeshName(query: DnsQuery, source: NameSource): Promise<DnsAnswer> {
  if (query.class !== CLASS_IN) return { code: ResponseCode.NOT_IMPLEMENTED };
  const meaning = source.names.find(source.environment, query.labels);
  if (meaning === "nothing") {
    source.counts.unknown += 1;
    return { code: ResponseCode.NAME_ERROR, soa: "authority" };
  }
  const asksAddress = query.type === RecordType.A || query.type === RecordType.ANY;
  if (meaning === "zone" || !asksAddress) {
    source.counts.answered += 1;
    const asksZone = meaning === "zone" && query.type === RecordType.SOA;
    return { code: ResponseCode.NO_ERROR, soa: asksZone ? "answer" : "authority" };
  }
  try {
    await source.open(meaning.service);
  } catch {
    // Said in the log by whoever could not open it; the address would lead to somebody else.
    source.counts.failed += 1;
    return { code: ResponseCode.SERVER_FAILURE };
  }
  source.counts.answered += 1;
  return { code: ResponseCode.NO_ERROR, address: { address: meaning.service.vip, ttl: TTL_SECONDS } };
}

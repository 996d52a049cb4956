import * as dns from "dns-packet";

const TTL_SECONDS = 1;
const NXDOMAIN = 3;

/** What a name means: an address, a name that exists without one, or nothing. */
export type NameMeaning = { address: string } | "unknown";

/** The answer to a question about a mesh name; only A has data, unknown names are NXDOMAIN with an SOA. */
export function meshAnswer(query: dns.Packet, question: dns.Question, meaning: NameMeaning): Buffer {
  const known = meaning !== "unknown";
  const answers: dns.Answer[] =
    known && question.type === "A"
      ? [{ type: "A", class: "IN", name: question.name, ttl: TTL_SECONDS, data: meaning.address }]
      : [];
  return dns.encode({
    type: "response",
    id: query.id ?? 0,
    flags:
      dns.AUTHORITATIVE_ANSWER |
      (dns.RECURSION_DESIRED & (query.flags ?? 0)) |
      dns.RECURSION_AVAILABLE |
      (known ? 0 : NXDOMAIN),
    questions: [question],
    answers,
    authorities: answers.length > 0 ? [] : [authority()],
  });
}

function authority(): dns.Answer {
  const data = {
    mname: "mesh",
    rname: "hostmaster.mesh",
    serial: 1,
    refresh: 60,
    retry: 60,
    expire: 60,
    minimum: TTL_SECONDS,
  };
  return { type: "SOA", name: "mesh", ttl: TTL_SECONDS, data };
}

/** An answer without data that says why: SERVFAIL (2), FORMERR (1), NOTIMP (4). */
export function failureAnswer(query: dns.Packet, code: 1 | 2 | 4): Buffer {
  return dns.encode({ type: "response", id: query.id ?? 0, flags: code, questions: query.questions ?? [] });
}

/** The one question of a query; undefined if the packet is none that can be answered. */
export function readQuery(packet: Buffer): { query: dns.Packet; question: dns.Question } | undefined {
  try {
    const query = dns.decode(packet);
    const [question, ...more] = query.questions ?? [];
    if (query.type !== "query" || question === undefined || more.length > 0) return undefined;
    return { query, question };
  } catch {
    // Not a DNS packet: nobody is waiting for words about it.
    return undefined;
  }
}

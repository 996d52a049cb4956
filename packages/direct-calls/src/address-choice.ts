import type { registry } from "@hms/contracts";
import { type ChannelScheme, type ChannelSchemes, schemeOf } from "./channel.ts";

/** From the cheapest way to call to the dearest. */
const RANKING = ["unix", "tcp", "tls", "grpcs", "grpc", "https", "http"];

/** One address of an instance and what speaks for or against it. */
export interface WeighedAddress {
  readonly address: string;
  readonly scheme: string;
  readonly chosen: boolean;
  /** Why, as a clause. */
  readonly why: string;
}

/** An address that can be used. */
export interface UsableAddress {
  readonly address: string;
  readonly scheme: ChannelScheme;
}

interface Ranked {
  address: string;
  name: string;
  scheme: ChannelScheme | undefined;
  problem: string | undefined;
  absent: string | undefined;
}

function addressesOf({ address, alternativeAddresses }: registry.ServiceInstance): string[] {
  return [...new Set([address, ...alternativeAddresses])].filter((one) => one !== "");
}

function ranked(instance: registry.ServiceInstance, schemes: ChannelSchemes): Ranked[] {
  const rankOf = (name: string) =>
    RANKING.indexOf(name) - (schemes[name]?.preferredBy === undefined ? 0 : RANKING.length);
  return addressesOf(instance)
    .map((address) => {
      const name = schemeOf(address);
      const scheme = schemes[name];
      const problem = scheme === undefined ? "this program does not speak it" : scheme.unusable?.(address);
      return { address, name, scheme, problem, absent: scheme?.absent?.(address) };
    })
    .sort((one, other) => rankOf(one.name) - rankOf(other.name));
}

/** The addresses of an instance that can be used from here, best first; last those where nobody answers now. */
export function usableAddresses(instance: registry.ServiceInstance, schemes: ChannelSchemes): UsableAddress[] {
  const usable = ranked(instance, schemes).flatMap(({ address, scheme, problem, absent }) =>
    scheme === undefined || problem !== undefined ? [] : [{ address, scheme, absent }],
  );
  const there = (one: { absent: string | undefined }) => one.absent === undefined;
  return [...usable.filter(there), ...usable.filter((one) => !there(one))];
}

/** Every address of an instance, the chosen one marked, with the reason for each. */
export function weighAddresses(instance: registry.ServiceInstance, schemes: ChannelSchemes): WeighedAddress[] {
  let chosen: Ranked | undefined;
  return ranked(instance, schemes).map((one) => {
    const { address, name, scheme } = one;
    const why = one.problem ?? one.absent;
    if (why !== undefined) return { address, scheme: name, chosen: false, why };
    if (chosen !== undefined) return { address, scheme: name, chosen: false, why: whyNot(one, chosen) };
    chosen = one;
    const reason = scheme?.preferredBy ?? "the nearest that can be used";
    return { address, scheme: name, chosen: true, why: `${reason}: ${scheme?.speaks}` };
  });
}

/** Why another address is chosen than one that could be used, as a clause. */
function whyNot({ scheme }: Ranked, chosen: Ranked): string {
  const isPreferred = chosen.scheme?.preferredBy !== undefined && scheme?.preferredBy === undefined;
  return `${chosen.name} is ${isPreferred ? "preferred" : "nearer"}`;
}

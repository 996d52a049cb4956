import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { dnsAddressOf, vipOf } from "./address-plan.ts";
import { withRequirements } from "./route-requirements.ts";

/** One environment and its place in the address plan. */
export interface EnvironmentPlace {
  name: string;
  slot: number;
}

/** One service's traffic picture and its place in the address plan. */
export interface PlacedService {
  picture: mesh.MeshServiceEntry;
  slot: number;
}

/** Everything a snapshot is made of, in the order in which it is shown. */
export interface Traffic {
  environments: EnvironmentPlace[];
  services: PlacedService[];
}

/** A serialized SnapshotContent and its checksum. */
export interface SealedContent {
  content: Uint8Array;
  sha256: Uint8Array;
}

/** Serializes traffic; the same traffic gives the same bytes. */
export function sealContent(traffic: Traffic, vipPrefix: string): SealedContent {
  const environments = traffic.environments.map(({ name, slot }) =>
    create(mesh.MeshEnvironmentSchema, { name, dnsAddress: dnsAddressOf(vipPrefix, slot) }),
  );
  const services = traffic.services.map(({ picture, slot }) => ({
    ...withRequirements(picture),
    vip: vipOf(vipPrefix, slot),
  }));
  const content = toBinary(mesh.SnapshotContentSchema, create(mesh.SnapshotContentSchema, { environments, services }));
  return { content, sha256: createHash("sha256").update(content).digest() };
}

const decoded = new WeakMap<mesh.Snapshot, mesh.SnapshotContent>();

/** What a snapshot says, decoded once; for reading only. */
export function contentOf(snapshot: mesh.Snapshot): mesh.SnapshotContent {
  let content = decoded.get(snapshot);
  if (content === undefined) {
    content = fromBinary(mesh.SnapshotContentSchema, snapshot.content);
    decoded.set(snapshot, content);
  }
  return content;
}

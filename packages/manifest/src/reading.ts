import type { Node } from "yaml";
import type { ResolveEnv } from "./environment-reference.ts";
import type { Position, ProblemList } from "./problem-list.ts";
import type { ObjectNode } from "./schema-node.ts";
import type { YamlNode, YamlSource } from "./yaml-source.ts";

/** A place of the manifest that is being read: its key path and what stands there. */
export interface Place {
  /** "scaling.min", "routes[0].path"; empty for the whole manifest. */
  readonly path: string;
  readonly value: Node | null;
  /** Where the key is, for values that are nothing. */
  readonly offset: number;
}

/** What one pass over a manifest shares. */
export interface Reading {
  readonly schema: ObjectNode;
  readonly source: YamlSource;
  readonly problems: ProblemList;
  readonly resolveEnv: ResolveEnv;
  /** Where the value of each key that was written stands. */
  readonly given: Map<string, Position>;
}

/** A value that could not be read; what is wrong has been reported. */
export const UNREADABLE = Symbol("unreadable");

/** The path of a key below another one. */
export const below = (path: string, key: string) => (path === "" ? key : `${path}.${key}`);

/** The YAML at a place; undefined if it cannot be used, which has been reported then. */
export function yamlAt(place: Place, reading: Reading): YamlNode | undefined {
  return reading.source.node(place.value, place.path, place.offset);
}

/** Reports a problem at a YAML node and answers UNREADABLE. */
export function refuse(reading: Reading, at: { path: string; offset: number }, description: string): typeof UNREADABLE {
  reading.problems.add(at.path, reading.source.position(at.offset), description);
  return UNREADABLE;
}

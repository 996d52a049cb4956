/** How long absent data planes are believed in. */
export interface NodeGraces {
  /** One that reconnects within this time has never been away; default 3000. */
  reconnectMs: number;
  /** With none connected, a wait believes this long that one comes; default 1000. */
  idleMs: number;
  /** The same from the server's start, because those of its predecessor are still reconnecting; default 5000. */
  startMs: number;
}

/** Graces with their defaults. */
export function nodeGraces(graces: Partial<NodeGraces> = {}): NodeGraces {
  return { reconnectMs: 3000, idleMs: 1000, startMs: 5000, ...graces };
}

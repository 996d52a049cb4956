export { outgoingTerms } from "./call-terms.ts";
export type { PeerCallers } from "./caller-facts.ts";
export { readFirstBytes } from "./first-bytes.ts";
export { parseFrameAddress } from "./frame-address.ts";
export { jsonFormat } from "./json-format.ts";
export { putMessage } from "./message-encoder.ts";
export * as scratch from "./scratch.ts";
export { listenOnFile, type SocketFile } from "./socket-file.ts";
export { callersOf, type OtherProtocols, type ProtocolHandler } from "./socket-peer.ts";
export {
  type FrameServer,
  type ServeFramesOptions,
  type ServeSocketOptions,
  type SocketServer,
  serveFrames,
  serveSocket,
} from "./socket-server.ts";
export {
  type ConnectFramesOptions,
  type ConnectSocketOptions,
  connectFrames,
  connectSocket,
  type SocketTransport,
} from "./socket-transport.ts";
export type { StrangerLimits } from "./strangers.ts";
export { checkServerId, type ServerTls, type TlsIdentity } from "./tls-identity.ts";

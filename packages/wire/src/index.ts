export type { OtherProtocols, ProtocolHandler } from "./socket-peer.ts";
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
export type { TlsIdentity } from "./tls-identity.ts";

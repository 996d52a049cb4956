/** The protocols that a listener answers. */
export type RpcProtocol = "grpc" | "grpc-web" | "connect" | "connect-stream";

/** What a request asks for, if it is a call. */
export interface RpcTarget {
  /** "hms.sys.mesh.v1.MeshService". */
  readonly service: string;
  /** "SetService". */
  readonly method: string;
  readonly protocol: RpcProtocol;
  /** False if the same request might be meant for a REST route: plain JSON, or a GET. */
  readonly certain: boolean;
}

const PATH = /^\/([A-Za-z_][\w.]*)\/([A-Za-z_]\w*)$/;
const MEDIA = /^application\/(grpc-web-text|grpc-web|grpc|connect|proto|json)(?=$|[+; ])/i;
/** Query of Connect's GET: a message and its encoding are there in any case. */
const CONNECT_GET = /(?:^|&)encoding=/;

/** Tells a call by path, method and media type; undefined if the request is none. */
export function rpcTarget(verb: string | undefined, url = "", contentType = ""): RpcTarget | undefined {
  const cut = url.indexOf("?");
  const [, service, method] = PATH.exec(cut < 0 ? url : url.slice(0, cut)) ?? [];
  if (service === undefined || method === undefined) return undefined;
  if (verb === "GET") {
    const query = cut < 0 ? "" : url.slice(cut + 1);
    return CONNECT_GET.test(query) ? { service, method, protocol: "connect", certain: false } : undefined;
  }
  if (verb !== "POST") return undefined;
  const media = MEDIA.exec(contentType)?.[1]?.toLowerCase();
  switch (media) {
    case undefined:
      return undefined;
    case "grpc":
      return { service, method, protocol: "grpc", certain: true };
    case "grpc-web":
    case "grpc-web-text":
      return { service, method, protocol: "grpc-web", certain: true };
    case "connect":
      return { service, method, protocol: "connect-stream", certain: true };
    default:
      return { service, method, protocol: "connect", certain: media === "proto" };
  }
}

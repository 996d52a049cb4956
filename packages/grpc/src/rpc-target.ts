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

/** The service and method that a path names, if it can be that of a call. */
export function pathTarget(url = ""): { service: string; method: string } | undefined {
  const cut = url.indexOf("?");
  const [, service, method] = PATH.exec(cut < 0 ? url : url.slice(0, cut)) ?? [];
  return service === undefined || method === undefined ? undefined : { service, method };
}

/** Tells a call by path, method and media type; undefined if the request is none. */
export function rpcTarget(verb: string | undefined, url = "", contentType = ""): RpcTarget | undefined {
  const named = pathTarget(url);
  if (named === undefined) return undefined;
  if (verb === "GET") {
    const query = url.slice(url.indexOf("?") + 1);
    return CONNECT_GET.test(query) ? { ...named, protocol: "connect", certain: false } : undefined;
  }
  if (verb !== "POST") return undefined;
  const media = MEDIA.exec(contentType)?.[1]?.toLowerCase();
  switch (media) {
    case undefined:
      return undefined;
    case "grpc":
      return { ...named, protocol: "grpc", certain: true };
    case "grpc-web":
    case "grpc-web-text":
      return { ...named, protocol: "grpc-web", certain: true };
    case "connect":
      return { ...named, protocol: "connect-stream", certain: true };
    default:
      return { ...named, protocol: "connect", certain: media === "proto" };
  }
}

import { createEdgeServer, Edge } from "@hms/http-edge";
import { pipelineKernel } from "../call/workload.ts";

/** Serves the edge over a kernel with everything on: `node edge-host.ts PORT`. */
createEdgeServer(new Edge(pipelineKernel())).listen(Number(process.argv[2]), "127.0.0.1");

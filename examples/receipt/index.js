import fastify from "fastify";

const app = fastify();
const body = { type: "object", required: ["email"], properties: { email: { type: "string" } } };

app.post("/receipt", { schema: { body } }, (req, res) => {
  /* pretend to email PDF */
  console.log("Sent receipt to", req.body.email);
  res.send({ ok: true, ref: `R-${Date.now()}` });
});

app.get("/healthz", (_req, res) => res.send({ ok: true }));

process.once("SIGTERM", () => app.close());

await app.listen({ port: Number(process.env.PORT ?? 3000), host: "127.0.0.1" });

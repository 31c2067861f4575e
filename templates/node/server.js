// A page and a health check: change it, and deploy again.
const http = require("node:http");
const os = require("node:os");

const port = Number(process.env.PORT || 8080);

const server = http.createServer((request, response) => {
  if (request.url === "/healthz") {
    response.end("ok\n");
    return;
  }
  response.setHeader("Content-Type", "application/json");
  const greeting = process.env.GREETING || "Hello from Node.js";
  response.end(`${JSON.stringify({ greeting, pod: os.hostname() })}\n`);
});

server.listen(port, () => console.log(`listening on port ${port}`));

// What is begun is finished before the end: the platform sends SIGTERM and waits.
process.on("SIGTERM", () => server.close(() => process.exit(0)));

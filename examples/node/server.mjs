// A shop assistant's chat endpoint on Node's own http module: POST /chat finds products and remembers what it showed.
//
//     PORT=8000 NODE_OPTIONS=--max-old-space-size=150 node server.mjs
//
// HISTORY says what is kept of each conversation: of its last 50 turns the products' numbers (`last`, the default), or of
// `all` turns the products themselves, a leak.

import { createServer } from "node:http";
import { Catalogue } from "./catalogue.mjs";

const LONGEST_BODY = 10_000;
const FOUND = 100; // products for each question
const SHOWN = 10; // of them in the answer
const TURNS = 50; // remembered of each conversation
const CONVERSATIONS = 100;
const KEEP_ALL = process.env.HISTORY === "all";

const catalogue = new Catalogue(); // before the port is bound: who is connected to is also ready
const conversations = new Map();

/** What is wrong with a request, for whoever sent it. */
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function readBody(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > LONGEST_BODY) throw new Refused(413, `the body must have at most ${LONGEST_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parse(text) {
  let question;
  try {
    question = JSON.parse(text);
  } catch {
    throw new Refused(400, "the body is not JSON");
  }
  if (question === null || typeof question !== "object" || Array.isArray(question)) {
    throw new Refused(400, "the body must be a JSON object");
  }
  for (const field of ["session_id", "query"]) {
    const value = question[field];
    if (typeof value !== "string" || value.length < 1 || value.length > 1000) {
      throw new Refused(400, `${field} must be text of 1 to 1000 characters`);
    }
  }
  return question;
}

/** Keep what was asked and found; answers with how many turns of the conversation are kept now. */
function remember(session, query, products) {
  const turns = conversations.get(session) ?? [];
  conversations.delete(session); // a Map keeps the order in which keys came: the oldest is the first
  conversations.set(session, turns);
  turns.push({ query, products: KEEP_ALL ? products : products.map((product) => product.number) });
  if (turns.length > TURNS && !KEEP_ALL) turns.shift();
  if (conversations.size > CONVERSATIONS) conversations.delete(conversations.keys().next().value);
  return turns.length;
}

async function chat(request) {
  const { session_id: session, query } = parse(await readBody(request));
  const products = catalogue.search(query, FOUND);
  const turns = remember(session, query, products);
  const response = products.length ? `I found the ${products[0].name}.` : "I found nothing like that.";
  return { response, turns, products: products.slice(0, SHOWN) };
}

async function answer(request) {
  const path = request.url.split("?")[0];
  if (path === "/health" && request.method === "GET") return { status: "ok" };
  if (path !== "/chat") throw new Refused(404, "there is /chat and /health");
  if (request.method !== "POST") throw new Refused(405, "/chat takes POST");
  return chat(request);
}

const server = createServer(async (request, response) => {
  let status = 200;
  let body;
  try {
    body = await answer(request);
  } catch (error) {
    status = error instanceof Refused ? error.status : 500;
    body = { error: error instanceof Refused ? error.message : "internal error" };
    if (status === 500) console.error(error);
    if (!request.complete) response.setHeader("Connection", "close"); // what was not read must not be the next request
  }
  const text = JSON.stringify(body);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) });
  response.end(text);
});

server.keepAliveTimeout = 30_000; // longer than a client waits between two requests
const address = { host: process.env.HOST ?? "127.0.0.1", port: Number(process.env.PORT ?? 8000) };
server.listen(address, () => console.log("listening on", server.address()));

// A process that does nothing here ends at once, with the requests in flight; process 1 of a container not at all.
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

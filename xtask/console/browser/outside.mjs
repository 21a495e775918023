// What stands around the service: buyers who pay in the sandbox, a storefront that is told, a mail server, the database.

import { execFileSync } from "node:child_process";
import { createServer as createHttp } from "node:http";
import { createServer } from "node:net";

const { HOLDFAST_SANDBOX_URL, HOLDFAST__MAIL__SMTP_URL, DATABASE_URL, CONSOLE_PSQL = "psql" } = process.env;

/** Tells the sandbox what happens. */
export async function control(path, body) {
  const response = await fetch(`${HOLDFAST_SANDBOX_URL}/control/${path}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`control of the sandbox, ${path}: ${response.status} ${await response.text()}`);
}

/** A buyer pays, perhaps another sum than was asked for. */
export async function pays({ provider_payment_id }, sum) {
  if (sum !== undefined) await control(`tamper/${provider_payment_id}`, { amount_total: sum });
  await control(`stripe/${provider_payment_id}`, { act: "pay" });
}

/** A storefront's own receiver of webhooks; it refuses while `well` is false. */
export async function receiver() {
  const it = { well: true, taken: [], refused: 0 };
  const server = createHttp((request, response) => {
    let text = "";
    request.on("data", (part) => (text += part));
    request.on("end", () => {
      if (it.well) it.taken.push(JSON.parse(text));
      else it.refused++;
      response.writeHead(it.well ? 204 : 500).end();
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  it.url = `http://127.0.0.1:${server.address().port}/hooks`;
  it.close = () => (server.closeAllConnections(), server.close());
  return it;
}

/** The mail server that the service was told of: takes every letter. */
export async function mailbox() {
  const letters = [];
  const server = createServer((socket) => {
    let text = "";
    let letter = null;
    const say = (line) => socket.write(`${line}\r\n`);
    say("220 here");
    socket.on("error", () => {});
    const heard = (line) => {
      if (letter !== null && line !== ".") {
        letter.push(line);
      } else if (letter !== null) {
        letters.push(letter.join("\n"));
        letter = null;
        say("250 taken");
      } else if (/^data/i.test(line)) {
        letter = [];
        say("354 go on");
      } else {
        say(/^quit/i.test(line) ? "221 bye" : "250 well");
      }
    };
    socket.on("data", (part) => {
      text += part;
      const lines = text.split("\r\n");
      text = lines.pop();
      lines.forEach(heard);
    });
  });
  const { port } = new URL(HOLDFAST__MAIL__SMTP_URL);
  await new Promise((done, failed) => server.once("error", failed).listen(Number(port), "127.0.0.1", done));
  return { letters, close: () => server.close() };
}

/** Changes something behind the service's back. */
export const sql = (text) => execFileSync(CONSOLE_PSQL, ["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", DATABASE_URL, "-c", text], { encoding: "utf8" }).trim();

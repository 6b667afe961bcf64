// A server that verifies with the libraries of the providers' documents, and knows no rpcguard.
import { createHash, randomBytes } from "crypto";
import { createServer } from "http";
import bs58 from "bs58";
import jwt from "jsonwebtoken";
import nacl from "tweetnacl";
import { WebSocketServer } from "ws";

const config = JSON.parse(process.argv[2]); // { secret, publicKeys: {kid: PEM}, encKey, authKey }
const nonces = new Set();
const challenges = new Map();
const text = (value) => new TextEncoder().encode(value);

class Refused extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

function demand(holds, reason = "invalid_credentials") {
  if (!holds) throw new Refused(reason);
}

const bearer = (headers) => (headers.authorization ?? "").replace(/^Bearer +/, "");

function verified(pubkey, signature, payload) {
  return nacl.sign.detached.verify(text(payload), bs58.decode(signature), bs58.decode(pubkey));
}

const guards = {
  "/bsc": ({ headers }) => {
    const claims = jwt.verify(bearer(headers), config.secret, { algorithms: ["HS256"] });
    demand(claims.exp - claims.iat === 3600);
    return "meganode";
  },
  "/evm": ({ headers }) => {
    const { header } = jwt.decode(bearer(headers), { complete: true });
    demand(header.kid in config.publicKeys);
    const claims = jwt.verify(bearer(headers), config.publicKeys[header.kid], {
      algorithms: ["RS256", "ES256"],
    });
    demand(claims.aud.toLowerCase().endsWith("allthatnode.com"));
    return header.alg;
  },
  "/solana": ({ method, url, headers }, body) => {
    if (headers.authorization) return jwt.verify(bearer(headers), config.secret).sub;
    const { "x-pubkey": pubkey, "x-timestamp": timestamp, "x-nonce": nonce } = headers;
    demand(/^[0-9a-f]{16}$/.test(nonce), "malformed_credentials");
    demand(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 30, "expired");
    const hash = createHash("sha256").update(body).digest("hex");
    let payload = `${timestamp}:${nonce}:${hash}`;
    if (headers["x-auth-version"] === "2") {
      demand(headers["x-http-method"] === method && headers["x-http-path"] === url);
      payload = `${method}:${url}:${payload}`;
    }
    demand(verified(pubkey, headers["x-signature"], payload));
    demand(!nonces.has(nonce), "replayed");
    nonces.add(nonce);
    return pubkey;
  },
  "/payouts/withdraw": ({ url, headers }, body) => {
    const now = Date.now();
    const claims = jwt.verify(bearer(headers), config.encKey, { algorithms: ["HS256"] });
    demand(headers["x-auth-key"] === config.authKey && claims.key === config.authKey);
    demand(claims.url === url && claims.exp - claims.iat === 60000);
    demand(claims.iat <= now && now < claims.exp, "expired");
    const { currency, amount, orderId } = JSON.parse(body);
    const signed = JSON.stringify(`${currency}#${amount}#${orderId}`);
    demand(claims.signature === createHash("sha256").update(signed).digest("hex"));
    return claims.key;
  },
  "/auth/challenge": (_, body) => {
    const challenge = `nodius:challenge:${randomBytes(16).toString("hex")}:${Math.floor(Date.now() / 1000)}`;
    challenges.set(JSON.parse(body).pubkey, challenge);
    return { challenge };
  },
  "/auth/verify": (_, body) => {
    const { pubkey, signature } = JSON.parse(body);
    demand(verified(pubkey, signature, challenges.get(pubkey)));
    const token = jwt.sign({ sub: pubkey }, config.secret, { expiresIn: "1h" });
    return { token, expiresAt: jwt.decode(token).exp };
  },
};

function judge(request, body) {
  const { pathname } = new URL(request.url, "http://server");
  try {
    demand(pathname in guards, "no_project");
    const answer = guards[pathname](request, body);
    return [200, typeof answer === "string" ? { caller: answer } : answer];
  } catch (error) {
    const reason = error.reason ?? (error.name === "TokenExpiredError" ? "expired" : "invalid_credentials");
    return [401, { error: { code: -32001, message: error.message, data: { reason } } }];
  }
}

const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const [status, document] = judge(request, Buffer.concat(parts));
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(document));
});

const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  const [status, document] = judge(request, Buffer.alloc(0));
  if (status !== 200) {
    socket.end(`HTTP/1.1 ${status} Refused\r\nDate: ${new Date().toUTCString()}\r\nContent-Length: 0\r\n\r\n`);
    return;
  }
  sockets.handleUpgrade(request, socket, head, (ws) => ws.send(JSON.stringify(document)));
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0));

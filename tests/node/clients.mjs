// Calls a server in one of the documents' ways; arguments and the answer are JSON.
import WebSocket from "ws";
import * as documents from "./documents.mjs";

const { way, url, body, ...given } = JSON.parse(process.argv[2]);
const origin = new URL(url).origin;
const json = { "Content-Type": "application/json" };

async function post(target, headers, content) {
  const response = await fetch(target, { method: "POST", headers, body: content });
  return { status: response.status, document: await response.json() };
}

async function session() {
  const keypair = documents.keypairOf(given.secretKey);
  const pubkey = keypair.publicKey.toBase58();
  const asked = await post(`${origin}/auth/challenge`, json, JSON.stringify({ pubkey }));
  const signature = documents.signChallenge(keypair, asked.document.challenge);
  const proof = JSON.stringify({ pubkey, signature });
  return (await post(`${origin}/auth/verify`, json, proof)).document.token;
}

function socket(protocols, headers) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url.replace("http", "ws"), protocols, { headers });
    ws.on("open", () => ws.send(body));
    ws.on("message", (data) => {
      ws.close();
      resolve({ status: 101, document: JSON.parse(data), protocol: ws.protocol });
    });
    ws.on("unexpected-response", (_, response) => {
      response.resume();
      resolve({ status: response.statusCode, document: null });
    });
    ws.on("error", reject);
  });
}

const bearer = (token) => ({ Authorization: `Bearer ${token}` });

const ways = {
  meganode: () => post(url, { ...json, ...bearer(documents.generateMeganodeJWT(given.secret)) }, body),
  "meganode-ws": () => socket([], bearer(documents.generateMeganodeJWT(given.secret))),
  allthatnode: () => {
    const { privateKey, algorithm, kid, payload } = given;
    const token = documents.generateAllThatNodeJWT(privateKey, algorithm, kid, payload);
    return post(url, { ...json, Authorization: `Bearer  ${token}` }, body); // two spaces, as shown
  },
  nodius: () => {
    const keypair = documents.keypairOf(given.secretKey);
    return post(url, { ...json, ...documents.signRequest(keypair, body) }, body);
  },
  "nodius-v2": () => {
    const { pathname, search } = new URL(url);
    const keypair = documents.keypairOf(given.secretKey);
    return post(url, { ...json, ...documents.signRequestV2(keypair, "POST", pathname + search, body) }, body);
  },
  "nodius-session": async () => post(url, { ...json, ...bearer(await session()) }, body),
  "nodius-session-ws": async () => socket([], bearer(await session())),
  "nodius-session-subprotocol": async () => socket([`auth.${await session()}`], {}),
  "nodius-api-key": async () => {
    const keypair = documents.keypairOf(given.secretKey);
    const made = await post(`${origin}/account/api-key`, documents.signRequest(keypair, ""), "");
    return post(url, { ...json, ...bearer(made.document.apiKey) }, body);
  },
  oppiwallet: () => {
    const { authKey, encKey } = given;
    const headers = documents.oppiWalletHeaders(authKey, encKey, new URL(url).pathname, JSON.parse(body));
    return post(url, headers, body);
  },
};

const got = await ways[way]();
process.stdout.write(JSON.stringify(got), () => process.exit(0)); // sockets may be kept alive

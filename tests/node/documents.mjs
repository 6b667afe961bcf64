// What the providers' documents show, in their words; only imports and exports are ours.
import crypto, { createHash, randomBytes } from "crypto";
import jwt from "jsonwebtoken";
import nacl from "tweetnacl"; // the document's named import is TypeScript's
import bs58 from "bs58";

const { sign } = nacl;

// MegaNode, "Generate Token"
export function generateMeganodeJWT(secret, expiresIn = "1h") {
  const payload = {
    iat: Math.floor(Date.now() / 1000),
  };
  return jwt.sign(payload, secret, {
    algorithm: "HS256",
    expiresIn,
  });
}

// All That Node, "Generate JWT": header and payload as shown
export function generateAllThatNodeJWT(privateKey, algorithm, kid, payload) {
  return jwt.sign(payload, privateKey, { algorithm, keyid: kid, noTimestamp: true });
}

// Nodius, "TypeScript Implementation"
export function signRequest(keypair, body) {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  const nonce = randomBytes(8).toString("hex");
  const bodyHash = createHash("sha256").update(body).digest("hex");
  const payload = `${timestamp}:${nonce}:${bodyHash}`;
  const signature = sign.detached(
    new TextEncoder().encode(payload),
    keypair.secretKey
  );
  return {
    "X-Pubkey": keypair.publicKey.toBase58(),
    "X-Signature": bs58.encode(Buffer.from(signature)),
    "X-Timestamp": timestamp,
    "X-Nonce": nonce,
  };
}

// Nodius, "v2 (enhanced)"
export function signRequestV2(keypair, method, path, body) {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  const nonce = randomBytes(8).toString("hex");
  const bodyHash = createHash("sha256").update(body).digest("hex");
  const payload = `${method}:${path}:${timestamp}:${nonce}:${bodyHash}`;
  const signature = sign.detached(new TextEncoder().encode(payload), keypair.secretKey);
  return {
    "X-Pubkey": keypair.publicKey.toBase58(),
    "X-Signature": bs58.encode(Buffer.from(signature)),
    "X-Timestamp": timestamp,
    "X-Nonce": nonce,
    "X-Auth-Version": "2",
    "X-Http-Method": method,
    "X-Http-Path": path,
  };
}

export function signChallenge(keypair, challenge) {
  return bs58.encode(sign.detached(new TextEncoder().encode(challenge), keypair.secretKey));
}

// What the document's Keypair has
export function keypairOf(secretKey) {
  const bytes = bs58.decode(secretKey);
  return { secretKey: bytes, publicKey: { toBase58: () => bs58.encode(bytes.slice(32)) } };
}

// Oppi Wallet, "Creating the Signature" to "Using the JWT in Requests"
export function oppiWalletHeaders(authKey, encKey, url, { currency, amount, orderId }) {
  const signatureData = `${currency}#${amount}#${orderId}`;
  const signature = crypto
    .createHash("sha256")
    .update(JSON.stringify(signatureData))
    .digest("hex");
  const payload = {
    "url": url,
    "iat": Date.now(),
    "exp": Date.now() + 60000,
    "key": authKey,
    "signature": signature,
  };
  const token = jwt.sign(payload, encKey, { algorithm: "HS256" });
  return {
    "Authorization": `Bearer ${token}`,
    "x-auth-key": authKey,
    "Content-Type": "application/json",
  };
}

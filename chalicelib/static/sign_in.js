/**
 * Signing in with a Cognito user pool, where the stage has one: its own pages ask for name and password, this page gets
 * a code and exchanges it for tokens (authorization code grant with PKCE, without a secret). Where there is no pool,
 * nothing here does anything.
 *
 * What the pool is asked, and what it answers:
 * https://docs.aws.amazon.com/cognito/latest/developerguide/authorization-endpoint.html
 * https://docs.aws.amazon.com/cognito/latest/developerguide/token-endpoint.html
 * https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html
 * PKCE: https://www.rfc-editor.org/rfc/rfc7636
 *
 * API Gateway's authorizer takes the bare ID token:
 * https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-invoke-api-integrated-with-cognito-user-pool.html
 */

import { Problem, reach } from "./problem.js";

const { signInDomain: domain, clientId } = document.documentElement.dataset;

/** Where this tab keeps its tokens, and what it needs when it comes back from signing in. */
const SESSION = "session";
const PENDING = "sign-in";
const SIGNED_OUT = "signed-out";

/** A token is renewed this many milliseconds before it runs out. */
const MARGIN = 60_000;

/** Bytes of a secret that nobody shall guess; 43 characters, the fewest that RFC 7636 takes for a verifier. */
const SECRET_BYTES = 32;

/** Whether people sign in at all. */
export const configured = Boolean(domain && clientId);

/**
 * Make sure that somebody is signed in, before anything is asked of the API. Does not return if the browser goes to sign
 * in.
 *
 * @throws {Problem} signing in has failed, or somebody has just signed out.
 */
export async function signedIn() {
  if (!configured) return;
  const answer = new URLSearchParams(location.search);
  if (answer.has("state") && (answer.has("code") || answer.has("error"))) {
    const pending = take(PENDING);
    history.replaceState(null, "", here() + (pending?.hash ?? ""));
    await exchange(answer, pending);
  } else if (take(SIGNED_OUT)) {
    throw new Problem({ title: "Signed out", detail: "You have signed out of this page.", status: 401 });
  } else if (!read(SESSION)) {
    await signIn();
  }
}

/** Go and sign in. Never returns: the browser leaves this page, and comes back to the view that it leaves. */
export async function signIn() {
  const verifier = secret();
  const state = secret();
  const challenge = encoded(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
  if (leaving) return leaving;
  write(PENDING, { state, verifier, hash: location.hash });
  const question = new URLSearchParams({
    response_type: "code",
    client_id: clientId,
    redirect_uri: here(),
    scope: "openid email",
    state,
    code_challenge: challenge,
    code_challenge_method: "S256",
  });
  return leave(`${domain}/oauth2/authorize?${question}`);
}

/** Forget the tokens, here and in the pool's own pages. */
export function signOut() {
  take(SESSION);
  write(SIGNED_OUT, true);
  leave(`${domain}/logout?${new URLSearchParams({ client_id: clientId, logout_uri: here() })}`);
}

let leaving = null;

/** Go to the pool's pages. What is asked for meanwhile waits, and does not lead elsewhere. */
function leave(address) {
  if (!leaving) {
    leaving = new Promise(() => {});
    window.addEventListener("pageshow", () => location.reload(), { once: true }); // whoever comes back by the history
    location.assign(address);
  }
  return leaving;
}

/**
 * What proves to the API who asks; renewed if it is about to run out.
 *
 * @returns {Promise<string | null>} an ID token; null where nobody signs in.
 * @throws {Problem} the pool cannot be reached.
 */
export async function token() {
  if (!configured) return null;
  const session = read(SESSION);
  if (session && Date.now() < session.until - MARGIN) return session.id;
  return (await renewed(session)).id;
}

/**
 * The API does not take a token: get another one.
 *
 * @param {string | null} refused the token.
 * @returns {Promise<string | null>} null where nobody signs in. Does not return if the browser goes to sign in.
 * @throws {Problem} the pool cannot be reached.
 */
export async function tokenOtherThan(refused) {
  if (!configured) return null;
  const session = read(SESSION);
  return session && session.id !== refused ? session.id : (await renewed(session)).id;
}

let renewing = null;

/** Whoever asks meanwhile gets the same answer: a refresh token may be good for one use. */
function renewed(session) {
  renewing ??= renew(session).finally(() => (renewing = null));
  return renewing;
}

async function renew(session) {
  const answer = session?.refresh && (await ask({ grant_type: "refresh_token", refresh_token: session.refresh }));
  if (answer?.ok) return keep(await answer.json(), session.refresh);
  if (answer?.status >= 500) throw unavailable();
  take(SESSION);
  return signIn();
}

async function exchange(answer, pending) {
  if (!pending || answer.get("state") !== pending.state) {
    throw new Problem({
      title: "Not signed in",
      detail: "This answer does not belong to a sign-in that this page has begun, so it was not used. Sign in again.",
      status: 401,
    });
  }
  if (answer.has("error")) {
    const why = answer.get("error_description") ?? answer.get("error");
    throw new Problem({ title: "Not signed in", detail: `Signing in did not work: ${why}.`, status: 401 });
  }
  const tokens = await ask({
    grant_type: "authorization_code",
    code: answer.get("code"),
    redirect_uri: here(),
    code_verifier: pending.verifier,
  });
  if (tokens.status >= 500) throw unavailable();
  if (!tokens.ok) {
    throw new Problem({ title: "Not signed in", detail: "This sign-in is over, or was used before. Sign in again.", status: 401 });
  }
  keep(await tokens.json());
}

function ask(parameters) {
  return reach(`${domain}/oauth2/token`, {
    method: "POST",
    body: new URLSearchParams({ client_id: clientId, ...parameters }),
  });
}

function unavailable() {
  return new Problem({ title: "Not signed in", detail: "The sign-in does not answer properly. Try again in a moment.", status: 503 });
}

/** The clock of this device may be wrong, so what counts is how long the token is good for. */
function keep({ id_token: id, refresh_token: refresh }, before = null) {
  const { exp, iat } = claims(id);
  const session = { id, refresh: refresh ?? before, until: Date.now() + 1000 * (exp - iat) };
  write(SESSION, session);
  return session;
}

function claims(jwt) {
  const bytes = atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0))));
}

/** This page, as the pool knows it: without what stands behind ? and #. */
function here() {
  return new URL(document.baseURI).href.replace(/[?#].*$/, "");
}

function secret() {
  return encoded(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));
}

/** Base64 as it may stand in an address: https://www.rfc-editor.org/rfc/rfc4648#section-5. */
function encoded(bytes) {
  return btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

function read(name) {
  return JSON.parse(sessionStorage.getItem(name));
}

function write(name, value) {
  sessionStorage.setItem(name, JSON.stringify(value));
}

function take(name) {
  const value = read(name);
  sessionStorage.removeItem(name);
  return value;
}

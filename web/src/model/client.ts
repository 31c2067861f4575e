/** The API's client: typed by the OpenAPI document, with the session's cookie, and with problems as errors. */
import createClient, { type Middleware } from 'openapi-fetch';
import { problemOf, Unreachable } from './problem';
import type { paths } from './schema';
import { session } from './session';

/** Requests that tell of the session themselves. */
const SESSION = '/api/v1/session';

/**
 * Sends a request, and again once somebody logged in where the session had ended meanwhile. The body is kept until
 * then, so that nothing that was typed is lost.
 */
export async function send(request: Request): Promise<Response> {
  for (;;) {
    const again = request.clone();
    let response: Response;
    try {
      response = await fetch(request);
    } catch (cause) {
      if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
      throw new Unreachable(cause);
    }
    if (response.status !== 401 || new URL(request.url).pathname === SESSION) return response;
    const renewed = session.renewed();
    if (renewed === undefined) return response;
    await renewed;
    request = again;
  }
}

const problems: Middleware = {
  async onResponse({ response }) {
    if (response.ok) return undefined;
    const body: unknown = await response.json().catch(() => null);
    throw problemOf(response.status, body);
  },
};

export const client = createClient<paths>({ baseUrl: globalThis.location?.origin ?? 'http://localhost', fetch: send });
client.use(problems);

/** What an answer carries; its problem was thrown by then. */
export async function data<T>(answer: Promise<{ data?: T; response: Response }>): Promise<T> {
  const { data, response } = await answer;
  if (data === undefined && response.status !== 204) throw problemOf(response.status, null);
  return data as T;
}

/** The revision that a change was made for, as the API wants to be told. */
export function ifMatch(object: { metadata: { revision?: number } }): { 'If-Match': string } {
  return { 'If-Match': `"${object.metadata.revision ?? 0}"` };
}

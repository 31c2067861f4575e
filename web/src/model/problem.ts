import type { Problem } from './schema';

/** What the API answers when something cannot be done (RFC 9457), as an error. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';

  constructor(readonly problem: Problem) {
    super(problem.detail);
  }

  get code(): string {
    return this.problem.code;
  }
}

/** The request got no answer at all. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';

  constructor(cause: unknown) {
    super('Coracle does not answer. It may be restarting, or the network is away.', { cause });
  }
}

/** An answer that is no problem document, such as one of a proxy in between. */
function foreign(status: number): Problem {
  return {
    type: 'about:blank',
    title: 'An answer that is not Coracle’s',
    status,
    code: 'internal',
    detail: `Something between this page and Coracle answered with status ${status}.`,
  };
}

/** The problem that a failed answer carries. */
export function problemOf(status: number, body: unknown): ApiProblem {
  const given = body as Partial<Problem> | null | undefined;
  const whole = typeof given === 'object' && given !== null && typeof given.detail === 'string' && given.code;
  return new ApiProblem(whole ? (given as Problem) : foreign(status));
}

/** Does a failed request go better when it is sent again as it is? */
export function isPassing(error: unknown): boolean {
  if (error instanceof Unreachable) return true;
  return error instanceof ApiProblem && ['store_unavailable', 'not_leader', 'engine_unavailable'].includes(error.code);
}

/**
 * Whether somebody is logged in.
 *
 * Theory of operation: the cookie is the browser's and cannot be read here; only answers tell. A request that is
 * refused because the session ended waits in `renewed` while the page, with everything that was typed into it, stays
 * where it is under a login form; once somebody logged in, the request is sent again.
 */
export type SessionState = 'unknown' | 'in' | 'out' | 'expired';

type Listener = () => void;

export class SessionWatch {
  #state: SessionState = 'unknown';
  #listeners = new Set<Listener>();
  #waiting: (() => void)[] = [];

  get state(): SessionState {
    return this.#state;
  }

  readonly subscribe = (listener: Listener): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): SessionState => this.#state;

  /** Somebody is logged in: whatever waited goes on. */
  begun(): void {
    this.#set('in');
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }

  /** Somebody logged out, or nobody was logged in. What waited is given up with the page that asked. */
  ended(): void {
    this.#set('out');
    this.#waiting = [];
  }

  /** A request was refused: until somebody logs in again. Where nobody ever was logged in there is nothing to wait for. */
  renewed(): Promise<void> | undefined {
    if (this.#state !== 'in' && this.#state !== 'expired') {
      this.#set('out');
      return undefined;
    }
    this.#set('expired');
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #set(state: SessionState): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}

export const session = new SessionWatch();

/**
 * The state of anything, told by colour, sign and word alike: nobody has to see colours to read it. Made of plain
 * elements, because lists of thousands have one in each row.
 */
import type { ReactNode } from 'react';
import classes from './phase.module.css';

type Color = 'green' | 'blue' | 'gray' | 'orange' | 'red' | 'indigo';

interface Look {
  color: Color;
  /** Paths in a square of 24, as Tabler's icons have them. */
  sign: ReactNode;
  busy?: true;
}

const CIRCLE = 'M3 12a9 9 0 1 0 18 0a9 9 0 1 0 -18 0';
const sign = (path: string): ReactNode => <path d={path} />;

const CHECK = sign(`${CIRCLE}M9 12l2 2l4 -4`);
const CROSS = sign(`${CIRCLE}M10 10l4 4m0 -4l-4 4`);
const CLOCK = sign(`${CIRCLE}M12 7v5l3 3`);
const PART = sign('M12 3a9 9 0 1 0 9 9');
const MOON = sign('M12 3c.132 0 .263 0 .393 0a7.5 7.5 0 0 0 7.92 12.446a9 9 0 1 1 -8.313 -12.454l0 .008');
const HISTORY = sign('M12 8l0 4l2 2M3.05 11a9 9 0 1 1 .5 4m-.5 5v-5h5');
const SQUARE = sign('M5 7a2 2 0 0 1 2 -2h10a2 2 0 0 1 2 2v10a2 2 0 0 1 -2 2h-10a2 2 0 0 1 -2 -2z');
const TRIANGLE = sign(
  'M12 9v4M12 16h.01M10.363 3.591l-8.106 13.534a1.914 1.914 0 0 0 1.636 2.871h16.214a1.914 1.914 0 0 0 1.636 -2.87l-8.106 -13.536a1.914 1.914 0 0 0 -3.274 0',
);
const DASHES = sign(
  'M8.56 3.69a9 9 0 0 0 -2.92 1.95M3.69 8.56a9 9 0 0 0 -.69 3.44M3.69 15.44a9 9 0 0 0 1.95 2.92M8.56 20.31a9 9 0 0 0 3.44 .69M15.44 20.31a9 9 0 0 0 2.92 -1.95M20.31 15.44a9 9 0 0 0 .69 -3.44M20.31 8.56a9 9 0 0 0 -1.95 -2.92M15.44 3.69a9 9 0 0 0 -3.44 -.69',
);

const busy = (color: Color): Look => ({ color, sign: PART, busy: true });

/** Phases of apps, builds, releases and pods, and states of nodes. */
const LOOKS: Record<string, Look> = {
  running: { color: 'green', sign: CHECK },
  ready: { color: 'green', sign: CHECK },
  live: { color: 'green', sign: CHECK },
  succeeded: { color: 'green', sign: CHECK },
  deploying: busy('blue'),
  building: busy('blue'),
  starting: busy('blue'),
  stopping: busy('gray'),
  fetching: busy('blue'),
  pending: { color: 'blue', sign: CLOCK },
  queued: { color: 'blue', sign: CLOCK },
  unready: { color: 'orange', sign: TRIANGLE },
  cordoned: { color: 'orange', sign: SQUARE },
  draining: busy('orange'),
  failed: { color: 'red', sign: CROSS },
  'not ready': { color: 'red', sign: CROSS },
  stopped: { color: 'gray', sign: SQUARE },
  exited: { color: 'gray', sign: SQUARE },
  cancelled: { color: 'gray', sign: SQUARE },
  superseded: { color: 'gray', sign: HISTORY },
  sleeping: { color: 'indigo', sign: MOON },
};

const UNKNOWN: Look = { color: 'gray', sign: DASHES };

/** `still` where there are thousands: each sign that moves is a layer of its own for the browser. */
export function PhaseBadge(props: { phase: string; size?: 'sm' | 'md' | 'lg'; still?: boolean }) {
  const { phase, size = 'md', still = false } = props;
  // A running build reads "running" as an app does; both are told apart by where they stand.
  const look = Object.hasOwn(LOOKS, phase) ? (LOOKS[phase] ?? UNKNOWN) : UNKNOWN;
  return (
    <span className={`${classes.badge} ${classes[look.color]}`} data-size={size} data-phase={phase}>
      <svg
        className={look.busy && !still ? classes.busy : undefined}
        width="14"
        height="14"
        viewBox="0 0 24 24"
        fill="none"
        stroke="currentColor"
        strokeWidth="2"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
      >
        {look.sign}
      </svg>
      {phase}
    </span>
  );
}

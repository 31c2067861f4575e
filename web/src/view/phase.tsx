/** The state of anything, told by colour, sign and word alike: nobody has to see colours to read it. */
import { Badge, Loader } from '@mantine/core';
import {
  IconAlertTriangle,
  IconCircleCheck,
  IconCircleDashed,
  IconCircleX,
  IconClock,
  IconHistory,
  IconMoon,
  IconPlayerStop,
} from '@tabler/icons-react';
import type { ReactNode } from 'react';

interface Look {
  color: string;
  sign: ReactNode;
}

const SIZE = 14;
const busy = (color: string): Look => ({ color, sign: <Loader size={11} color={color} aria-hidden /> });

/** Phases of apps, builds, releases and pods, and states of nodes. */
const LOOKS: Record<string, Look> = {
  running: { color: 'green', sign: <IconCircleCheck size={SIZE} /> },
  ready: { color: 'green', sign: <IconCircleCheck size={SIZE} /> },
  live: { color: 'green', sign: <IconCircleCheck size={SIZE} /> },
  succeeded: { color: 'green', sign: <IconCircleCheck size={SIZE} /> },
  deploying: busy('blue'),
  building: busy('blue'),
  starting: busy('blue'),
  stopping: busy('gray'),
  fetching: busy('blue'),
  pending: { color: 'blue', sign: <IconClock size={SIZE} /> },
  queued: { color: 'blue', sign: <IconClock size={SIZE} /> },
  unready: { color: 'orange', sign: <IconAlertTriangle size={SIZE} /> },
  cordoned: { color: 'orange', sign: <IconPlayerStop size={SIZE} /> },
  draining: busy('orange'),
  failed: { color: 'red', sign: <IconCircleX size={SIZE} /> },
  'not ready': { color: 'red', sign: <IconCircleX size={SIZE} /> },
  stopped: { color: 'gray', sign: <IconPlayerStop size={SIZE} /> },
  exited: { color: 'gray', sign: <IconPlayerStop size={SIZE} /> },
  cancelled: { color: 'gray', sign: <IconPlayerStop size={SIZE} /> },
  superseded: { color: 'gray', sign: <IconHistory size={SIZE} /> },
  sleeping: { color: 'indigo', sign: <IconMoon size={SIZE} /> },
};

const UNKNOWN: Look = { color: 'gray', sign: <IconCircleDashed size={SIZE} /> };

export function PhaseBadge({ phase, size = 'md' }: { phase: string; size?: 'sm' | 'md' | 'lg' }) {
  // A running build reads "running" as an app does; both are told apart by where they stand.
  const look = Object.hasOwn(LOOKS, phase) ? (LOOKS[phase] ?? UNKNOWN) : UNKNOWN;
  return (
    <Badge color={look.color} leftSection={look.sign} size={size} data-phase={phase}>
      {phase}
    </Badge>
  );
}

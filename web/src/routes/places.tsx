/** The places that the side bar and the command palette lead to, in their order. */
import {
  IconActivity,
  IconApi,
  IconApps,
  IconBox,
  IconDatabase,
  IconFolders,
  IconHammer,
  IconKey,
  IconLayoutDashboard,
  IconPackage,
  IconServer,
  IconSettings,
  IconUsers,
} from '@tabler/icons-react';
import type { ReactNode } from 'react';
import type { Role } from '../model/schema';

/** What it takes to use a place: a role that holds on the whole platform; absent where anybody has something to see. */
export interface Place {
  to: string;
  label: string;
  hint: string;
  icon: ReactNode;
  platform?: Role;
}

export interface PlaceGroup {
  label: string;
  places: Place[];
}

const SIZE = 18;

export const PLACES: PlaceGroup[] = [
  {
    label: 'Run',
    places: [
      { to: '/', label: 'Overview', hint: 'How everything is', icon: <IconLayoutDashboard size={SIZE} /> },
      { to: '/apps', label: 'Apps', hint: 'What runs, and where', icon: <IconApps size={SIZE} /> },
      { to: '/pods', label: 'Pods', hint: 'Every running instance', icon: <IconBox size={SIZE} /> },
      { to: '/volumes', label: 'Volumes', hint: 'Data that outlives pods', icon: <IconDatabase size={SIZE} /> },
    ],
  },
  {
    label: 'Make',
    places: [
      { to: '/builds', label: 'Builds', hint: 'From source to image', icon: <IconHammer size={SIZE} /> },
      { to: '/images', label: 'Images', hint: 'The private registry', icon: <IconPackage size={SIZE} /> },
    ],
  },
  {
    label: 'Platform',
    places: [
      {
        to: '/nodes',
        label: 'Nodes',
        hint: 'Machines that run pods',
        icon: <IconServer size={SIZE} />,
        platform: 'viewer',
      },
      { to: '/projects', label: 'Projects', hint: 'Boundaries of names and access', icon: <IconFolders size={SIZE} /> },
      { to: '/activity', label: 'Activity', hint: 'Who did what', icon: <IconActivity size={SIZE} /> },
      { to: '/people', label: 'People', hint: 'Who may do what', icon: <IconUsers size={SIZE} />, platform: 'admin' },
      { to: '/tokens', label: 'Tokens', hint: 'Access for programs', icon: <IconKey size={SIZE} /> },
      {
        to: '/settings',
        label: 'Settings',
        hint: 'Domain, registries, defaults',
        icon: <IconSettings size={SIZE} />,
        platform: 'viewer',
      },
      { to: '/reference', label: 'API', hint: 'The API reference', icon: <IconApi size={SIZE} /> },
    ],
  },
];

/** Addresses that belong to a place though they do not begin as its own does. */
const BELONGING: [RegExp, string][] = [
  [/^\/projects\/[^/]+\/apps\//, '/apps'],
  [/^\/projects\/[^/]+\/pods\//, '/pods'],
  [/^\/repositories\//, '/images'],
];

/** The place that a page belongs to, by its path. */
export function placeOf(path: string): string {
  const belonging = BELONGING.find(([begins]) => begins.test(path));
  return belonging?.[1] ?? `/${path.split('/')[1] ?? ''}`;
}

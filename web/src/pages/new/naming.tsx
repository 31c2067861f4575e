/** What a name means: where an app of that name is reached, and whether there is one. */
import { Alert } from '@mantine/core';
import { IconInfoCircle } from '@tabler/icons-react';
import { expectedAddress } from '../../model/address';
import { useApp, useApps } from '../../model/collections';
import { useMe } from '../../model/me';
import type { Wish } from '../../model/source';

/** Where it will be reached; undefined while nothing is known, or nothing of it serves requests. */
export function useAddress(wish: Wish): string | undefined {
  const me = useMe();
  const apps = useApps();
  if (me === undefined || wish.app === '' || !wish.processes.some(({ name }) => name === 'web')) return undefined;
  return expectedAddress(
    wish.app,
    me.domain,
    (apps ?? []).map(({ status }) => status.url),
  );
}

export function ExistingApp({ project, app }: { project: string; app: string }) {
  const there = useApp({ project, app });
  if (there == null) return null;
  return (
    <Alert color="blue" icon={<IconInfoCircle />} p="xs">
      There is an app {app} in {project} already. This becomes its next release; its variables, domains and volumes
      stay. Choose another name to make an app beside it.
    </Alert>
  );
}

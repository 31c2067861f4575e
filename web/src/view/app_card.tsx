/** An app at a glance: how it is, where it is, how it went. */
import { Anchor, Card, Group, Stack, Text, Tooltip } from '@mantine/core';
import { IconExternalLink } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { isWeb, shortAddress } from '../model/address';
import { count } from '../model/format';
import type { App, Release } from '../model/schema';
import classes from './app_card.module.css';
import { PhaseBadge } from './phase';
import { Ago } from './text';

/** How many pods there are, of how many that should be. */
export function podsOf(app: App): { ready: number; wanted: number } {
  // Absent while nothing of it runs.
  const processes: App['status']['processes'] | undefined = app.status.processes;
  const all = Object.values(processes ?? {});
  return {
    ready: all.reduce((sum, { ready }) => sum + ready, 0),
    wanted: all.reduce((sum, { replicas }) => sum + replicas, 0),
  };
}

export function AppCard(props: { app: App; release: Release | undefined; graph: ReactNode; project: boolean }) {
  const { app, release, graph } = props;
  const { name, project } = app.metadata;
  const { ready, wanted } = podsOf(app);
  return (
    <Card component="article" className={classes.card} aria-label={name}>
      <Stack gap="xs" h="100%">
        <Group justify="space-between" wrap="nowrap" gap="xs">
          <div style={{ minWidth: 0 }}>
            <Link
              to="/projects/$project/apps/$app"
              params={{ project: project ?? '', app: name }}
              className={classes.name}
            >
              {name}
            </Link>
            {props.project && (
              <Text size="xs" c="dimmed" truncate>
                {project}
              </Text>
            )}
          </div>
          <PhaseBadge phase={app.status.phase} />
        </Group>
        {isWeb(app.status.url) ? (
          <Anchor
            href={app.status.url}
            target="_blank"
            rel="noreferrer"
            size="sm"
            className={classes.above}
            truncate
            title={app.status.url}
          >
            {shortAddress(app.status.url)} <IconExternalLink size={13} aria-hidden />
          </Anchor>
        ) : (
          <Text size="sm" c="dimmed">
            No address yet
          </Text>
        )}
        {app.status.reason != null && (
          <Text size="xs" c={app.status.phase === 'failed' ? 'red' : 'dimmed'} lineClamp={2}>
            {app.status.reason}
          </Text>
        )}
        <div className={classes.graph}>{graph}</div>
        <Group justify="space-between" gap="xs" mt="auto">
          <Tooltip label={`${ready} of ${count(wanted, 'pod')} ready`}>
            <Text size="xs" c={ready < wanted ? 'orange' : 'dimmed'}>
              {ready} / {count(wanted, 'pod')}
            </Text>
          </Tooltip>
          <Text size="xs" c="dimmed" component="div">
            {release === undefined ? (
              'never deployed'
            ) : (
              <>
                v{release.spec.number} <Ago at={release.status.finished ?? release.metadata.created} size="xs" />
              </>
            )}
          </Text>
        </Group>
      </Stack>
    </Card>
  );
}

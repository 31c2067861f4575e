/** What is done to an app as a whole: stopping it, taking it along, deleting it. */
import { Anchor, Button, Code, Group, Stack, Text } from '@mantine/core';
import { IconPlayerPlay, IconPlayerStop, IconTrash } from '@tabler/icons-react';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useDeleteApp, useStartApp, useStopApp } from '../../actions/app';
import { appPath, isStopped, startScales, wishes } from '../../model/app';
import { useApp, useReleases } from '../../model/collections';
import { useMay } from '../../model/me';
import { baseRelease } from '../../model/release';
import { Confirm } from '../../view/confirm';
import { Facts } from '../../view/facts';
import { Loading } from '../../view/page';
import { Section } from '../../view/section';
import { Ago, Copyable } from '../../view/text';
import { useAppRef } from './app_ref';

export default function AppSettings() {
  const ref = useAppRef();
  const app = useApp(ref);
  const releases = useReleases(ref);
  const navigate = useNavigate();
  const may = useMay('developer', ref.project);
  const mayExport = useMay('admin');
  const stop = useStopApp();
  const start = useStartApp();
  const remove = useDeleteApp();
  const [asking, setAsking] = useState(false);
  if (app == null || releases === undefined) return <Loading rows={3} height={110} />;
  const base = baseRelease(releases, app.status.release);
  const stopped = isStopped(app, base);
  const mayChange = may && app.metadata.deleting == null;
  const volumes = base?.spec.config.volumes ?? [];
  const close = () => {
    setAsking(false);
    remove.reset();
  };
  return (
    <Stack>
      <Section title="About this app">
        <Facts
          facts={[
            { label: 'Name', value: ref.app, hint: 'It is part of the app’s address and cannot be changed.' },
            { label: 'Project', value: ref.project },
            { label: 'Made', value: <Ago at={app.metadata.created} /> },
            {
              label: 'Identity',
              value: app.metadata.uid == null ? null : <Copyable value={app.metadata.uid} label="Copy the identity" />,
              hint: 'Never used twice, not even for an app of the same name after this one was deleted.',
            },
          ]}
        />
      </Section>
      {mayChange && base !== undefined && (
        <Section
          title={stopped ? 'Start' : 'Stop'}
          lead={
            stopped
              ? 'The app is stopped: it has no pods, and its address answers no more.'
              : 'A stopped app has no pods and uses no processor and no memory. Its data, variables and releases stay.'
          }
          actions={
            stopped ? (
              <Button
                variant="light"
                leftSection={<IconPlayerPlay size={15} />}
                loading={start.isPending}
                onClick={() => start.mutate({ ...ref, scales: startScales(base) })}
              >
                Start
              </Button>
            ) : (
              <Button
                variant="default"
                leftSection={<IconPlayerStop size={15} />}
                loading={stop.isPending}
                onClick={() => {
                  const before = wishes(app, base);
                  stop.mutate({ ...ref, processes: Object.keys(before), before });
                }}
              >
                Stop
              </Button>
            )
          }
        >
          <Text size="xs" c="dimmed">
            {stopped ? 'It starts with' : 'This is the same as scaling all of its processes to 0. It had'}{' '}
            {Object.entries(stopped ? startScales(base) : wishes(app, base))
              .map(([name, wish]) => `${name} ${wish}`)
              .join(', ')}
            .
          </Text>
        </Section>
      )}
      <Section
        title="Take it along"
        lead="An export has a whole project with its apps, releases, images and variables, for another platform."
      >
        {mayExport ? (
          <Stack gap="xs">
            <Text size="sm">With the command line:</Text>
            <Copyable value={`coracle export --project ${ref.project}`} label="Copy the command" />
          </Stack>
        ) : (
          <Text size="sm" c="dimmed">
            Administrators of the platform can make one with <Code>coracle export --project {ref.project}</Code>.
          </Text>
        )}
      </Section>
      {mayChange && (
        <Section
          title="Delete this app"
          lead="Its pods, releases, builds, variables and addresses go, and cannot be brought back."
          actions={
            <Button color="red" variant="light" leftSection={<IconTrash size={15} />} onClick={() => setAsking(true)}>
              Delete…
            </Button>
          }
        >
          <Text size="xs" c="dimmed">
            If you only want it to be quiet for a while,{' '}
            <Anchor component={Link} to={`${appPath(ref)}/processes`} size="xs" underline="always">
              scale it to 0
            </Anchor>{' '}
            instead.
          </Text>
        </Section>
      )}
      {!mayChange && (
        <Group>
          <Text size="sm" c="dimmed">
            {app.metadata.deleting == null
              ? 'Stopping and deleting takes the role of a developer.'
              : 'This app is being deleted.'}
          </Text>
        </Group>
      )}
      <Confirm
        opened={asking}
        title={`Delete ${ref.app}`}
        verb="Delete it"
        typed={ref.app}
        busy={remove.isPending}
        error={remove.error}
        onClose={close}
        onConfirm={() => remove.mutate(ref, { onSuccess: () => void navigate({ to: '/apps' }) })}
      >
        <Stack gap="xs">
          <span>
            The app {ref.app} of project {ref.project} goes with its pods, {releases.length} releases, builds, variables
            and addresses. Nobody can bring them back.
          </span>
          {volumes.length > 0 && (
            <span>
              Its volumes ({volumes.map(({ name }) => name).join(', ')}) stay with what is on them, until somebody
              deletes them on the page Volumes.
            </span>
          )}
        </Stack>
      </Confirm>
    </Stack>
  );
}

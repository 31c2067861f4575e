import { Anchor, Button, Stack, Text, Tooltip } from '@mantine/core';
import { IconDatabase } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useDeleteVolume } from '../actions/volume';
import { usePods, useProjects } from '../model/collections';
import { bytes, count } from '../model/format';
import { may, useMe } from '../model/me';
import { quantity } from '../model/quantity';
import type { Volume, WhoAmI } from '../model/schema';
import { useVolumes } from '../model/volume';
import { Confirm } from '../view/confirm';
import { FilterBar, matches } from '../view/filter_bar';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { type Column, DataTable } from '../view/table';
import { Ago } from '../view/text';

const route = getRouteApi('/inside/volumes');

export default function VolumesPage() {
  const me = useMe();
  const { project, q, order = 'name' } = route.useSearch();
  const navigate = useNavigate({ from: '/volumes' });
  const put = (given: { project?: string | undefined; q?: string | undefined; order?: string }) =>
    void navigate({ search: (before) => ({ ...before, ...given }), replace: true });
  const projects = useProjects()?.map(({ metadata }) => metadata.name);
  const { volumes, error } = useVolumes(project);
  const [asking, setAsking] = useState<Volume>();
  const remove = useDeleteVolume();
  const pods = usePods(project);
  const columns = useMemo(() => {
    const apps = new Map((pods ?? []).map(({ metadata, spec }) => [`${metadata.project}/${metadata.name}`, spec.app]));
    const known = volumes?.some((volume) => volume.created != null) ?? false;
    return columnsFor(me, apps, setAsking).filter(({ key }) => key !== 'created' || known);
  }, [me, pods, volumes]);
  const shown = volumes?.filter((volume) => matches(q, volume.name, volume.project, volume.app, ...volume.used_by));
  const close = () => {
    setAsking(undefined);
    remove.reset();
  };
  return (
    <Page
      title="Volumes"
      lead="A volume is a disk that outlives the pods that use it: what an app writes there is still there after a deploy or a restart."
    >
      {error !== null ? (
        <ProblemAlert error={error} />
      ) : shown === undefined ? (
        <Loading />
      ) : volumes?.length === 0 && project === undefined ? (
        <EmptyState
          icon={<IconDatabase />}
          title="There are no volumes"
          action={
            <Button component={Link} to="/apps" variant="light">
              To the apps
            </Button>
          }
        >
          An app gets one when its coracle.toml asks for it, or when you add it under the app’s Volumes. Without one,
          what an app writes to its disk is gone when it is deployed anew.
        </EmptyState>
      ) : (
        <Stack gap="sm">
          <FilterBar
            projects={projects ?? []}
            project={project}
            onProject={(project) => put({ project })}
            words={q}
            onWords={(q) => put({ q })}
            placeholder="Find a volume"
          />
          {shown.length === 0 ? (
            <Text size="sm" c="dimmed" ta="center" py="xl">
              No volume is like that.
            </Text>
          ) : (
            <DataTable
              label="Volumes"
              rows={shown}
              columns={columns}
              rowKey={(volume) => `${volume.project}/${volume.name}`}
              order={order}
              onOrder={(order) => put({ order })}
            />
          )}
        </Stack>
      )}
      <Confirm
        opened={asking !== undefined}
        title={`Delete volume ${asking?.name ?? ''}`}
        verb="Delete it and its data"
        typed={asking?.name ?? ''}
        busy={remove.isPending}
        error={remove.error}
        onClose={close}
        onConfirm={() => {
          if (asking !== undefined)
            remove.mutate({ project: asking.project, volume: asking.name }, { onSuccess: close });
        }}
      >
        Everything on this volume of project {asking?.project} is lost, and nobody can bring it back. Save what you need
        first.
      </Confirm>
    </Page>
  );
}

/** Apps by their pods. */
type AppsOfPods = ReadonlyMap<string, string | null | undefined>;

function columnsFor(me: WhoAmI | undefined, apps: AppsOfPods, remove: (volume: Volume) => void): Column<Volume>[] {
  const appOf = (volume: Volume) =>
    volume.app ?? volume.used_by.map((pod) => apps.get(`${volume.project}/${pod}`)).find((app) => app != null);
  const part = encodeURIComponent;
  return [
    {
      key: 'name',
      title: 'Volume',
      width: '2fr',
      order: (volume) => volume.name,
      cell: (volume) => (
        <Text size="sm" fw={550} truncate>
          {volume.name}
        </Text>
      ),
    },
    {
      key: 'project',
      title: 'Project',
      width: '1fr',
      order: (volume) => volume.project,
      cell: (volume) => volume.project,
    },
    {
      key: 'app',
      title: 'App',
      width: '1fr',
      wide: true,
      order: (volume) => appOf(volume) ?? '',
      cell: (volume) => {
        const app = appOf(volume);
        return app == null ? (
          '–'
        ) : (
          <Anchor component={Link} to={`/projects/${part(volume.project)}/apps/${part(app)}`} size="sm">
            {app}
          </Anchor>
        );
      },
    },
    {
      key: 'size',
      title: 'In use',
      width: '160px',
      wide: true,
      order: (volume) => volume.used_bytes ?? quantity(volume.size) ?? 0,
      cell: (volume) => {
        const [used, size] = [volume.used_bytes, quantity(volume.size)];
        if (used == null) return size === null ? 'not limited' : `up to ${bytes(size)}`;
        return size === null ? bytes(used) : `${bytes(used)} of ${bytes(size)}`;
      },
    },
    {
      key: 'pods',
      title: 'Used by',
      width: '2fr',
      wide: true,
      order: (volume) => volume.used_by.length,
      cell: (volume) => {
        const [first, ...more] = volume.used_by;
        if (first === undefined) return 'no pod';
        if (more.length > 0) {
          return (
            <Tooltip label={volume.used_by.join(', ')} multiline maw={360}>
              <span>{count(volume.used_by.length, 'pod')}</span>
            </Tooltip>
          );
        }
        return (
          <Anchor component={Link} to={`/projects/${part(volume.project)}/pods/${part(first)}`} size="sm">
            {first}
          </Anchor>
        );
      },
    },
    {
      key: 'created',
      title: 'Since',
      width: '120px',
      wide: true,
      order: (volume) => volume.created ?? '',
      cell: (volume) => <Ago at={volume.created} />,
    },
    {
      key: 'do',
      title: '',
      width: '80px',
      cell: (volume) =>
        may(me, 'developer', volume.project) && (
          <Tooltip
            label={`Pods use it: ${volume.used_by.join(', ')}. Stop them first.`}
            disabled={volume.used_by.length === 0}
            multiline
            maw={360}
          >
            <Button
              size="compact-sm"
              variant="subtle"
              color="red"
              aria-label={`Delete volume ${volume.name}`}
              aria-disabled={volume.used_by.length > 0}
              data-disabled={volume.used_by.length > 0}
              onClick={(event) => {
                // It stays focusable, so that the keyboard too finds out why it cannot go.
                if (volume.used_by.length > 0) event.preventDefault();
                else remove(volume);
              }}
            >
              Delete
            </Button>
          </Tooltip>
        ),
    },
  ];
}

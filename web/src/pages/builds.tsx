import { ActionIcon, Anchor, Button, SegmentedControl, Stack, Text, Tooltip } from '@mantine/core';
import { IconHammer, IconPlayerStop } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo } from 'react';
import { useCancelBuild } from '../actions/build_cancel';
import { isGoing, sourceWords, took } from '../model/build_list';
import { useList, useProjects } from '../model/collections';
import { count, span } from '../model/format';
import { may, useMe } from '../model/me';
import type { Build, WhoAmI } from '../model/schema';
import { FilterBar, matches } from '../view/filter_bar';
import { EmptyState, Loading, Page } from '../view/page';
import { PhaseBadge } from '../view/phase';
import { type Column, DataTable } from '../view/table';
import { Ago, useNow } from '../view/text';

const route = getRouteApi('/inside/builds');

const PHASES = [
  { value: '', label: 'All' },
  { value: 'going', label: 'Going on' },
  { value: 'failed', label: 'Failed' },
];

export default function BuildsPage() {
  const me = useMe();
  const { project, q, order = '-created', phase } = route.useSearch();
  const navigate = useNavigate({ from: '/builds' });
  const put = (given: {
    project?: string | undefined;
    q?: string | undefined;
    order?: string;
    phase?: string | undefined;
  }) => void navigate({ search: (before) => ({ ...before, ...given }), replace: true });
  const projects = useProjects()?.map(({ metadata }) => metadata.name);
  const builds = useList('Build', project);
  const cancel = useCancelBuild();
  const now = useNow();
  const columns = useMemo(() => columnsFor(me, now, cancel.mutate), [me, now, cancel.mutate]);
  const shown = builds?.filter(
    (build) =>
      matches(q, build.spec.app, build.metadata.project, build.spec.created_by, sourceWords(build)) &&
      (phase === undefined || (phase === 'going' ? isGoing(build) : build.status.phase === phase)),
  );
  const going = builds?.filter(isGoing).length ?? 0;
  return (
    <Page
      title="Builds"
      lead={
        <>
          Each build turns source into an image that can run.
          {going > 0 && ` ${count(going, 'build')} ${going === 1 ? 'is' : 'are'} going on now.`}
        </>
      }
    >
      {shown === undefined ? (
        <Loading />
      ) : builds?.length === 0 && project === undefined ? (
        <EmptyState
          icon={<IconHammer />}
          title="Nothing was built yet"
          action={
            may(me, 'developer') && (
              <Button component={Link} to="/new">
                New app
              </Button>
            )
          }
        >
          When you deploy from a folder, from Git or from a template, the image is built here, and you can watch it.
        </EmptyState>
      ) : (
        <Stack gap="sm">
          <FilterBar
            projects={projects ?? []}
            project={project}
            onProject={(project) => put({ project })}
            words={q}
            onWords={(q) => put({ q })}
            placeholder="Find a build by app, person or source"
          >
            <SegmentedControl
              aria-label="State"
              data={PHASES}
              value={phase ?? ''}
              onChange={(value) => put({ phase: value || undefined })}
            />
          </FilterBar>
          {shown.length === 0 ? (
            <Text size="sm" c="dimmed" ta="center" py="xl">
              No build is like that.
            </Text>
          ) : (
            <DataTable
              label="Builds"
              rows={shown}
              columns={columns}
              rowKey={(build) =>
                build.metadata.uid ?? `${build.metadata.project}/${build.spec.app}/${build.metadata.name}`
              }
              order={order}
              onOrder={(order) => put({ order })}
            />
          )}
        </Stack>
      )}
    </Page>
  );
}

const appPath = (build: Build) =>
  `/projects/${encodeURIComponent(build.metadata.project ?? '')}/apps/${encodeURIComponent(build.spec.app)}`;

type CancelBuild = (build: { project: string; app: string; build: string }) => void;

function columnsFor(me: WhoAmI | undefined, now: number, cancel: CancelBuild): Column<Build>[] {
  return [
    {
      key: 'app',
      title: 'Build',
      width: '2fr',
      order: (build) => `${build.spec.app} ${String(build.spec.number).padStart(9, '0')}`,
      cell: (build) => (
        <>
          <Anchor component={Link} to={appPath(build)} size="sm">
            {build.spec.app}
          </Anchor>{' '}
          <Anchor
            component={Link}
            to={`${appPath(build)}/builds/${encodeURIComponent(build.metadata.name)}`}
            size="sm"
            fw={600}
          >
            b{build.spec.number}
          </Anchor>
        </>
      ),
    },
    {
      key: 'phase',
      title: 'State',
      width: '120px',
      order: (build) => build.status.phase,
      cell: (build) => (
        <Tooltip label={build.status.reason ?? ''} disabled={build.status.reason == null} multiline maw={420}>
          <span>
            <PhaseBadge phase={build.status.phase === 'running' ? 'building' : build.status.phase} />
          </span>
        </Tooltip>
      ),
    },
    {
      key: 'project',
      title: 'Project',
      width: '1fr',
      wide: true,
      order: (build) => build.metadata.project ?? '',
      cell: (build) => build.metadata.project,
    },
    { key: 'source', title: 'From', width: '2fr', wide: true, cell: sourceWords },
    {
      key: 'by',
      title: 'By',
      width: '1fr',
      wide: true,
      order: (build) => build.spec.created_by,
      cell: (build) => build.spec.created_by,
    },
    {
      key: 'took',
      title: 'Took',
      width: '100px',
      wide: true,
      order: (build) => took(build, now) ?? 0,
      cell: (build) => {
        const time = took(build, now);
        return time === null ? '–' : span(time);
      },
    },
    {
      key: 'created',
      title: 'When',
      width: '130px',
      wide: true,
      order: (build) => build.metadata.created,
      cell: (build) => <Ago at={build.metadata.created} />,
    },
    {
      key: 'release',
      title: 'Release',
      width: '70px',
      wide: true,
      cell: (build) =>
        build.status.release == null ? (
          '–'
        ) : (
          <Anchor component={Link} to={`${appPath(build)}/releases`} size="sm">
            v{build.status.release}
          </Anchor>
        ),
    },
    {
      key: 'do',
      title: '',
      width: '40px',
      cell: (build) =>
        isGoing(build) &&
        may(me, 'developer', build.metadata.project ?? undefined) && (
          <Tooltip label="Stop this build">
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={`Stop build b${build.spec.number} of ${build.spec.app}`}
              onClick={() =>
                cancel({ project: build.metadata.project ?? '', app: build.spec.app, build: build.metadata.name })
              }
            >
              <IconPlayerStop size={16} />
            </ActionIcon>
          </Tooltip>
        ),
    },
  ];
}

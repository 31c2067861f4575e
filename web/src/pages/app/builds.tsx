/** The builds of an app. */
import { ActionIcon, Anchor, Group, Text, Tooltip } from '@mantine/core';
import { IconHammer, IconPlayerStop } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { useCancelBuild } from '../../actions/build_cancel';
import { appPath } from '../../model/app';
import { isGoing, sourceWords, took } from '../../model/build_list';
import { useBuilds } from '../../model/collections';
import { span } from '../../model/format';
import { useMay } from '../../model/me';
import type { AppRef } from '../../model/objects';
import type { Build } from '../../model/schema';
import { LinkButton } from '../../view/link_button';
import { EmptyState, Loading } from '../../view/page';
import { PhaseBadge } from '../../view/phase';
import { type Column, DataTable } from '../../view/table';
import { Ago, useNow } from '../../view/text';
import { useAppRef } from './app_ref';

export default function AppBuilds() {
  const ref = useAppRef();
  const builds = useBuilds(ref);
  const mayChange = useMay('developer', ref.project);
  const cancel = useCancelBuild();
  const now = useNow();
  const columns = useMemo(
    () => columnsFor(ref, now, mayChange ? (build) => cancel.mutate({ ...ref, build }) : undefined),
    [ref, now, mayChange, cancel.mutate],
  );
  if (builds === undefined) return <Loading rows={5} />;
  if (builds.length === 0) {
    return (
      <EmptyState
        icon={<IconHammer />}
        title="Nothing of this app was built here"
        action={
          mayChange && (
            <LinkButton to="/new" search={ref}>
              Deploy from source
            </LinkButton>
          )
        }
      >
        A build turns source into an image. There is one for each deploy from a folder, from Git or from a template; an
        app that runs an image as it is needs none.
      </EmptyState>
    );
  }
  return <DataTable label="Builds" rows={builds} columns={columns} rowKey={(build) => build.metadata.name} />;
}

function columnsFor(ref: AppRef, now: number, cancel: ((build: string) => void) | undefined): Column<Build>[] {
  return [
    {
      key: 'number',
      title: 'Build',
      width: '70px',
      cell: ({ spec, metadata }) => (
        <Anchor component={Link} to={`${appPath(ref)}/builds/${encodeURIComponent(metadata.name)}`} size="sm" fw={600}>
          b{spec.number}
        </Anchor>
      ),
    },
    {
      key: 'phase',
      title: 'State',
      width: '130px',
      cell: ({ status }) => <PhaseBadge phase={status.phase === 'running' ? 'building' : status.phase} />,
    },
    {
      key: 'source',
      title: 'From',
      width: '3fr',
      wide: true,
      cell: (build) => (
        <Group gap={6} wrap="nowrap">
          <Text size="sm" truncate>
            {build.spec.source.type === 'git' ? build.spec.source.commit.subject : sourceWords(build)}
          </Text>
          {build.spec.source.type === 'git' && (
            <Text size="xs" c="dimmed" ff="monospace">
              {build.spec.source.commit.id.slice(0, 8)}
            </Text>
          )}
        </Group>
      ),
    },
    { key: 'by', title: 'By', width: '1fr', wide: true, cell: ({ spec }) => spec.created_by },
    {
      key: 'took',
      title: 'Took',
      width: '110px',
      wide: true,
      cell: (build) => {
        const time = took(build, now);
        return time === null ? '–' : span(time);
      },
    },
    { key: 'created', title: 'When', width: '130px', cell: ({ metadata }) => <Ago at={metadata.created} /> },
    {
      key: 'release',
      title: 'Release',
      width: '80px',
      cell: ({ status }) =>
        status.release == null ? (
          '–'
        ) : (
          <Anchor
            size="sm"
            renderRoot={(props) => (
              <Link
                {...props}
                to="/projects/$project/apps/$app/releases"
                params={ref}
                search={{ release: `v${status.release}` }}
              />
            )}
          >
            v{status.release}
          </Anchor>
        ),
    },
    {
      key: 'do',
      title: '',
      width: '40px',
      cell: (build) =>
        cancel !== undefined &&
        isGoing(build) && (
          <Tooltip label="Stop this build">
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={`Stop build b${build.spec.number}`}
              onClick={() => cancel(build.metadata.name)}
            >
              <IconPlayerStop size={16} />
            </ActionIcon>
          </Tooltip>
        ),
    },
  ];
}

import { Anchor, Button, Group, Modal, Stack, Text } from '@mantine/core';
import { IconBook, IconPackage } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useCollect } from '../actions/registry';
import { useProjects } from '../model/collections';
import { bytes } from '../model/format';
import { registryHost, repositoryProject, useRepositories } from '../model/image';
import { useMay, useMe } from '../model/me';
import { useRegistry } from '../model/registry';
import type { Repository } from '../model/schema';
import { Confirm } from '../view/confirm';
import { FilterBar, matches } from '../view/filter_bar';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { PushAndPull, RegistrySpace } from '../view/registry';
import { type Column, DataTable } from '../view/table';
import { Ago, Copyable } from '../view/text';

const route = getRouteApi('/inside/images');

export default function ImagesPage() {
  const me = useMe();
  const { project, q, order = 'name' } = route.useSearch();
  const navigate = useNavigate({ from: '/images' });
  const put = (given: { project?: string | undefined; q?: string | undefined; order?: string }) =>
    void navigate({ search: (before) => ({ ...before, ...given }), replace: true });
  const projects = useProjects()?.map(({ metadata }) => metadata.name);
  const repositories = useRepositories();
  const [helping, setHelping] = useState(false);
  const all = repositories.data;
  const shown = all?.filter((item) => matches(q, item.name) && (project === undefined || projectOf(item) === project));
  return (
    <Page
      title="Images"
      lead="The registry of this platform: what was built here or pushed here, ready to run."
      actions={
        <Button variant="default" leftSection={<IconBook size={16} />} onClick={() => setHelping(true)}>
          How to push and pull
        </Button>
      }
    >
      <Space />
      {repositories.error !== null ? (
        <ProblemAlert error={repositories.error} retry={() => void repositories.refetch()} />
      ) : shown === undefined ? (
        <Loading />
      ) : all?.length === 0 ? (
        <EmptyState
          icon={<IconPackage />}
          title="The registry is empty"
          action={
            <Group justify="center">
              <Button component={Link} to="/new">
                New app
              </Button>
              <Button variant="light" onClick={() => setHelping(true)}>
                Push an image
              </Button>
            </Group>
          }
        >
          An image is a program with everything that it needs to run. Each build puts one here.
        </EmptyState>
      ) : (
        <Stack gap="sm">
          <FilterBar
            projects={projects ?? []}
            project={project}
            onProject={(project) => put({ project })}
            words={q}
            onWords={(q) => put({ q })}
            placeholder="Find a repository"
          />
          {shown.length === 0 ? (
            <Text size="sm" c="dimmed" ta="center" py="xl">
              No repository is called like that.
            </Text>
          ) : (
            <DataTable
              label="Repositories"
              rows={shown}
              columns={COLUMNS}
              rowKey={(item) => item.name}
              order={order}
              onOrder={(order) => put({ order })}
            />
          )}
        </Stack>
      )}
      <Modal opened={helping} onClose={() => setHelping(false)} title="How to push and pull" size="lg">
        <PushAndPull
          host={registryHost(all?.[0]?.reference, window.location.host)}
          user={me?.user ?? 'YOU'}
          project={project ?? projects?.[0] ?? 'default'}
        />
      </Modal>
    </Page>
  );
}

const projectOf = (item: Repository) => item.project ?? repositoryProject(item.name);

const COLUMNS: Column<Repository>[] = [
  {
    key: 'name',
    title: 'Repository',
    width: '3fr',
    order: (item) => item.name,
    cell: (item) => (
      <Anchor
        component={Link}
        to={`/repositories/${item.name.split('/').map(encodeURIComponent).join('/')}`}
        size="sm"
        fw={550}
      >
        {item.name}
      </Anchor>
    ),
  },
  {
    key: 'reference',
    title: 'To pull it',
    width: '4fr',
    wide: true,
    cell: (item) => <Copyable value={item.reference} />,
  },
  { key: 'tags', title: 'Tags', width: '70px', order: (item) => item.tags ?? 0, cell: (item) => item.tags ?? '–' },
  { key: 'bytes', title: 'Size', width: '100px', order: (item) => item.bytes ?? 0, cell: (item) => bytes(item.bytes) },
  {
    key: 'updated',
    title: 'Changed',
    width: '130px',
    wide: true,
    order: (item) => item.updated ?? '',
    cell: (item) => <Ago at={item.updated} />,
  },
];

function Space() {
  const registry = useRegistry(useMay('viewer'));
  const mayCollect = useMay('admin');
  const collect = useCollect();
  const [asking, setAsking] = useState(false);
  if (registry.error !== null) return <ProblemAlert error={registry.error} retry={() => void registry.refetch()} />;
  if (registry.data === undefined) return null;
  return (
    <>
      <RegistrySpace state={registry.data} mayCollect={mayCollect} onCollect={() => setAsking(true)} />
      <Confirm
        opened={asking}
        title="Reclaim space"
        verb="Reclaim"
        busy={collect.isPending}
        error={collect.error}
        onClose={() => setAsking(false)}
        onConfirm={() => collect.mutate(undefined, { onSuccess: () => setAsking(false) })}
      >
        Parts of images that no tag, release or build needs any more are deleted. Whatever runs, and whatever can be
        rolled back to, stays. Pushes and deploys go on meanwhile.
      </Confirm>
    </>
  );
}

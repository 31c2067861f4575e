import { Anchor, Badge, Button, Group, Modal, Stack, Text, Tooltip } from '@mantine/core';
import { IconBook, IconPackage, IconTrash } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useDeleteImage } from '../actions/image';
import { useOne } from '../model/collections';
import { bytes, count, shortDigest } from '../model/format';
import { protection, registryHost, repositoryProject, useImage, useImages } from '../model/image';
import { useMay, useMe } from '../model/me';
import type { ImageTag } from '../model/schema';
import { Confirm } from '../view/confirm';
import { ImageView, ProtectionNote } from '../view/image';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { PushAndPull } from '../view/registry';
import { type Column, DataTable } from '../view/table';
import { Ago, Copyable } from '../view/text';

const route = getRouteApi('/inside/repositories/$');

/** A repository; with `ref`, one of its images. */
export default function RepositoryPage() {
  const { _splat: repository = '' } = route.useParams();
  const { ref } = route.useSearch();
  return ref === undefined ? (
    <RepositoryView repository={repository} />
  ) : (
    <ImagePage repository={repository} reference={ref} />
  );
}

/** What is to be deleted: a tag or a digest. */
interface Target {
  reference: string;
  item: Pick<ImageTag, 'tag' | 'digest' | 'used_by'>;
}

const nameOf = (item: ImageTag) => item.tag ?? item.digest;
const pathOf = (repository: string) => `/repositories/${repository.split('/').map(encodeURIComponent).join('/')}`;

function RepositoryView({ repository }: { repository: string }) {
  const me = useMe();
  const project = repositoryProject(repository);
  const images = useImages(repository);
  const mayDelete = useMayDelete(project);
  const [target, setTarget] = useState<Target>();
  const [helping, setHelping] = useState(false);
  const columns = useMemo(() => columnsFor(repository, mayDelete, setTarget), [repository, mayDelete]);
  const items = images.data;
  return (
    <Page
      title={repository}
      crumbs={[{ label: 'Images', to: '/images' }]}
      lead={items === undefined ? undefined : `${count(items.length, 'image')} of project ${project}, by tag.`}
      actions={
        <Button variant="default" leftSection={<IconBook size={16} />} onClick={() => setHelping(true)}>
          How to push and pull
        </Button>
      }
    >
      {images.error !== null ? (
        <ProblemAlert error={images.error} retry={() => void images.refetch()} />
      ) : items === undefined ? (
        <Loading />
      ) : items.length === 0 ? (
        <EmptyState
          icon={<IconPackage />}
          title="No image is here"
          action={
            <Button component={Link} to="/images" variant="light">
              All images
            </Button>
          }
        >
          Whatever was here was deleted, or nothing was pushed under this name yet.
        </EmptyState>
      ) : (
        <DataTable label={`Images of ${repository}`} rows={items} columns={columns} rowKey={nameOf} />
      )}
      <Modal opened={helping} onClose={() => setHelping(false)} title="How to push and pull" size="lg">
        <PushAndPull
          host={registryHost(items?.[0]?.reference, window.location.host)}
          user={me?.user ?? 'YOU'}
          project={project}
          repository={repository}
        />
      </Modal>
      <DeleteDialog repository={repository} target={target} items={items ?? []} onClose={() => setTarget(undefined)} />
    </Page>
  );
}

/** What belongs to no project is the whole platform's: everybody's builds may begin with it. */
function useMayDelete(project: string): boolean {
  const shared = useOne('Project', null, project) === null;
  return useMay(shared ? 'admin' : 'developer', shared ? undefined : project);
}

function columnsFor(repository: string, mayDelete: boolean, remove: (target: Target) => void): Column<ImageTag>[] {
  return [
    {
      key: 'tag',
      title: 'Tag',
      width: '2fr',
      cell: (item) => (
        <Anchor
          size="sm"
          fw={550}
          renderRoot={(props) => (
            <Link {...props} to="/repositories/$" params={{ _splat: repository }} search={{ ref: nameOf(item) }} />
          )}
        >
          {item.tag ?? 'no tag'}
        </Anchor>
      ),
    },
    {
      key: 'digest',
      title: 'Digest',
      width: '170px',
      wide: true,
      cell: (item) => <Copyable value={item.digest} shown={shortDigest(item.digest)} label="Copy the digest" />,
    },
    { key: 'bytes', title: 'Size', width: '90px', cell: (item) => bytes(item.bytes) },
    {
      key: 'platforms',
      title: 'Made for',
      width: '1fr',
      wide: true,
      cell: (item) => (item.platforms ?? []).join(', ') || '–',
    },
    {
      key: 'use',
      title: 'In use',
      width: '150px',
      wide: true,
      cell: (item) => {
        const { level, by } = protection(item.used_by);
        if (level === 'free')
          return (
            <Text size="sm" c="dimmed">
              no
            </Text>
          );
        const names = by.map((use) => use.app ?? use.pod ?? use.project);
        return (
          <Tooltip label={[...new Set(names)].join(', ')}>
            <Badge color={level === 'never' ? 'green' : 'gray'}>{level === 'never' ? 'runs' : 'for a rollback'}</Badge>
          </Tooltip>
        );
      },
    },
    { key: 'created', title: 'Made', width: '120px', wide: true, cell: (item) => <Ago at={item.created} /> },
    {
      key: 'do',
      title: '',
      width: '80px',
      cell: (item) =>
        mayDelete && (
          <Button
            size="compact-sm"
            variant="subtle"
            color="red"
            aria-label={`Delete ${nameOf(item)}`}
            onClick={() => remove({ reference: nameOf(item), item })}
          >
            Delete
          </Button>
        ),
    },
  ];
}

function ImagePage({ repository, reference }: { repository: string; reference: string }) {
  const image = useImage(repository, reference);
  const items = useImages(repository).data;
  const mayDelete = useMayDelete(repositoryProject(repository));
  const navigate = useNavigate();
  const [deleting, setDeleting] = useState(false);
  const isDigest = reference.startsWith('sha256:');
  const item: Target['item'] | undefined =
    items?.find((item) => (isDigest ? item.digest === reference : item.tag === reference)) ??
    (image.data === undefined ? undefined : { digest: image.data.digest, used_by: image.data.used_by });
  const host = registryHost(items?.[0]?.reference, window.location.host);
  return (
    <Page
      title={isDigest ? `${repository}@${shortDigest(reference)}` : `${repository}:${reference}`}
      crumbs={[
        { label: 'Images', to: '/images' },
        { label: repository, to: pathOf(repository) },
      ]}
      actions={
        mayDelete &&
        item !== undefined && (
          <Button variant="light" color="red" leftSection={<IconTrash size={16} />} onClick={() => setDeleting(true)}>
            Delete…
          </Button>
        )
      }
    >
      {image.error !== null ? (
        <ProblemAlert error={image.error} retry={() => void image.refetch()} />
      ) : image.data === undefined ? (
        <Loading rows={3} height={140} />
      ) : (
        <ImageView
          image={image.data}
          reference={isDigest ? `${host}/${repository}@${reference}` : `${host}/${repository}:${reference}`}
        />
      )}
      <DeleteDialog
        repository={repository}
        target={deleting && item !== undefined ? { reference, item } : undefined}
        items={items ?? []}
        onClose={() => setDeleting(false)}
        onDeleted={() => void navigate({ to: pathOf(repository) })}
      />
    </Page>
  );
}

interface DeleteDialogProps {
  repository: string;
  target: Target | undefined;
  items: readonly ImageTag[];
  onClose: () => void;
  onDeleted?: () => void;
}

/** A tag that is not the last one goes at once; an image is typed; one that runs stays. */
function DeleteDialog({ repository, target, items, onClose, onDeleted }: DeleteDialogProps) {
  const remove = useDeleteImage();
  const close = () => {
    remove.reset();
    onClose();
  };
  if (target === undefined) return null;
  const { reference, item } = target;
  const others = items.filter(
    (other) => item.tag != null && other.tag != null && other.tag !== item.tag && other.digest === item.digest,
  );
  const guard = protection(item.used_by);
  const shown = reference.startsWith('sha256:') ? shortDigest(reference) : reference;
  const note = <ProtectionNote protection={guard} others={others.flatMap(({ tag }) => (tag == null ? [] : [tag]))} />;
  if (guard.level === 'never') {
    return (
      <Modal opened onClose={close} title={`Delete ${shown} of ${repository}`}>
        <Stack>
          {note}
          <Group justify="flex-end">
            <Button variant="default" onClick={close} data-autofocus>
              Close
            </Button>
          </Group>
        </Stack>
      </Modal>
    );
  }
  return (
    <Confirm
      opened
      title={`Delete ${shown} of ${repository}`}
      verb={others.length > 0 ? 'Delete the tag' : 'Delete the image'}
      {...(others.length > 0 ? {} : { typed: shown })}
      busy={remove.isPending}
      error={remove.error}
      onClose={close}
      onConfirm={() =>
        remove.mutate(
          // The last tag goes with its image; of several, one goes alone.
          { repository, reference: others.length > 0 ? reference : item.digest, force: guard.level === 'insist' },
          {
            onSuccess: () => {
              close();
              onDeleted?.();
            },
          },
        )
      }
    >
      {note}
    </Confirm>
  );
}

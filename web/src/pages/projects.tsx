/** Projects: what belongs together, and who may touch it. */
import {
  ActionIcon,
  Button,
  Card,
  Code,
  Group,
  Menu,
  Modal,
  SimpleGrid,
  Stack,
  Text,
  Textarea,
  TextInput,
} from '@mantine/core';
import { IconDots, IconFolders, IconPencil, IconPlus, IconTrash } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { type ReactNode, useState } from 'react';
import { useChangeProject, useCreateProject, useDeleteProject } from '../actions/project';
import { useApps, usePods, useProjects } from '../model/collections';
import { count } from '../model/format';
import { may, useMay, useMe } from '../model/me';
import { ApiProblem } from '../model/problem';
import { description } from '../model/project';
import type { Project } from '../model/schema';
import { Confirm } from '../view/confirm';
import { FilterBar, matches } from '../view/filter_bar';
import { Hint } from '../view/hint';
import { LinkAnchor, LinkButton } from '../view/link_button';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { PhaseBadge } from '../view/phase';
import { Ago } from '../view/text';

const route = getRouteApi('/inside/projects');

export default function ProjectsPage() {
  const { q, create } = route.useSearch();
  const navigate = useNavigate({ from: '/projects' });
  const me = useMe();
  const mayCreate = useMay('admin');
  const projects = useProjects();
  const apps = useApps();
  const pods = usePods();
  const [editing, setEditing] = useState<Project>();
  const [deleting, setDeleting] = useState<Project>();
  const open = (open: boolean) =>
    void navigate({ search: (before) => ({ ...before, create: open ? 'yes' : undefined }), replace: true });
  const shown = projects?.filter((project) => matches(q, project.metadata.name, description(project)));
  const within = (project: Project) => (object: { metadata: { project?: string | null } }) =>
    object.metadata.project === project.metadata.name;
  const button = mayCreate && (
    <Button leftSection={<IconPlus size={16} />} onClick={() => open(true)}>
      New project
    </Button>
  );
  return (
    <Page
      title="Projects"
      lead={
        <Group gap={4}>
          Apps that belong together.
          <Hint about="a project">
            Names are used once in a project, apps of one project reach each other by their names, and people may be let
            into some projects and not into others.
          </Hint>
        </Group>
      }
      actions={button}
    >
      {shown === undefined ? (
        <Loading rows={3} height={110} />
      ) : projects?.length === 0 ? (
        <EmptyState icon={<IconFolders />} title="No projects" action={button}>
          {mayCreate ? 'Make one to deploy apps into.' : 'An administrator can let you into one.'}
        </EmptyState>
      ) : (
        <>
          {(projects?.length ?? 0) > 6 && (
            <FilterBar
              words={q}
              onWords={(q) => void navigate({ search: (before) => ({ ...before, q }), replace: true })}
              placeholder="Find a project"
            />
          )}
          <SimpleGrid cols={{ base: 1, xs: 2, lg: 3 }}>
            {shown.map((project) => (
              <ProjectCard
                key={project.metadata.name}
                project={project}
                apps={(apps ?? []).filter(within(project)).length}
                failing={(apps ?? []).filter(within(project)).filter(({ status }) => status.phase === 'failed').length}
                pods={(pods ?? []).filter(within(project)).length}
                menu={
                  may(me, 'admin', project.metadata.name) && (
                    <Menu position="bottom-end" withinPortal>
                      <Menu.Target>
                        <ActionIcon
                          variant="subtle"
                          color="gray"
                          aria-label={`What can be done with ${project.metadata.name}`}
                        >
                          <IconDots size={16} />
                        </ActionIcon>
                      </Menu.Target>
                      <Menu.Dropdown>
                        <Menu.Item leftSection={<IconPencil size={14} />} onClick={() => setEditing(project)}>
                          Describe it
                        </Menu.Item>
                        {mayCreate && (
                          <Menu.Item
                            color="red"
                            leftSection={<IconTrash size={14} />}
                            onClick={() => setDeleting(project)}
                          >
                            Delete it
                          </Menu.Item>
                        )}
                      </Menu.Dropdown>
                    </Menu>
                  )
                }
              />
            ))}
          </SimpleGrid>
        </>
      )}
      <Modal opened={create !== undefined && mayCreate} onClose={() => open(false)} title="New project">
        <CreateForm onDone={() => open(false)} />
      </Modal>
      <Modal
        opened={editing !== undefined}
        onClose={() => setEditing(undefined)}
        title={`Describe ${editing?.metadata.name ?? ''}`}
      >
        {editing !== undefined && (
          <EditForm
            base={editing}
            newest={projects?.find(({ metadata }) => metadata.name === editing.metadata.name)}
            onNewest={setEditing}
            onDone={() => setEditing(undefined)}
          />
        )}
      </Modal>
      <Deleting
        project={deleting}
        apps={deleting === undefined ? 0 : (apps ?? []).filter(within(deleting)).length}
        pods={deleting === undefined ? 0 : (pods ?? []).filter(within(deleting)).length}
        onClose={() => setDeleting(undefined)}
      />
    </Page>
  );
}

function ProjectCard(props: { project: Project; apps: number; failing: number; pods: number; menu: ReactNode }) {
  const { project, apps, failing, pods, menu } = props;
  const { name, created, deleting } = project.metadata;
  return (
    <Card component="article" aria-label={name}>
      <Stack gap="xs" h="100%">
        <Group justify="space-between" wrap="nowrap">
          <LinkAnchor to="/apps" search={{ project: name }} fw={650} c="inherit" style={{ overflowWrap: 'anywhere' }}>
            {name}
          </LinkAnchor>
          <Group gap={4} wrap="nowrap">
            {deleting != null && <PhaseBadge phase="stopping" />}
            {menu}
          </Group>
        </Group>
        <Text size="sm" c="dimmed" lineClamp={3} style={{ overflowWrap: 'anywhere' }}>
          {description(project) || 'No description'}
        </Text>
        <Group justify="space-between" mt="auto" gap="xs">
          <Text size="sm">
            {count(apps, 'app')}, {count(pods, 'pod')}
            {failing > 0 && (
              <Text span c="red" size="sm">
                {' '}
                · {failing} failed
              </Text>
            )}
          </Text>
          <Text size="xs" c="dimmed" component="div">
            made <Ago at={created} size="xs" />
          </Text>
        </Group>
      </Stack>
    </Card>
  );
}

function CreateForm({ onDone }: { onDone: () => void }) {
  const create = useCreateProject();
  const [name, setName] = useState('');
  const [words, setWords] = useState('');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        create.mutate({ name, description: words }, { onSuccess: onDone });
      }}
    >
      <Stack>
        <TextInput
          label="Name"
          description="Lower-case letters, digits and -. It cannot be changed later."
          value={name}
          onChange={(event) => setName(event.currentTarget.value.toLowerCase())}
          required
          autoComplete="off"
          data-autofocus
        />
        <Textarea
          label="Description"
          description="What it is for, so that others know."
          value={words}
          onChange={(event) => setWords(event.currentTarget.value)}
          autosize
          minRows={2}
        />
        {create.error !== null && <ProblemAlert error={create.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={create.isPending}>
            Make it
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function EditForm(props: {
  base: Project;
  /** As it is now: somebody else may have changed it meanwhile. */
  newest: Project | undefined;
  onNewest: (project: Project) => void;
  onDone: () => void;
}) {
  const { base, newest, onNewest, onDone } = props;
  const change = useChangeProject();
  const [words, setWords] = useState(() => description(base));
  const stale = change.error instanceof ApiProblem && change.error.code === 'stale_revision';
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        change.mutate({ base, description: words }, { onSuccess: onDone });
      }}
    >
      <Stack>
        <Textarea
          label="Description"
          value={words}
          onChange={(event) => setWords(event.currentTarget.value)}
          autosize
          minRows={3}
          data-autofocus
        />
        {change.error !== null && <ProblemAlert error={change.error} />}
        {stale && newest !== undefined && (
          <Stack gap="xs">
            <Text size="sm">
              Somebody changed it meanwhile. It says now: <Code>{description(newest) || 'nothing'}</Code>
            </Text>
            <Group>
              <Button
                size="xs"
                variant="light"
                onClick={() => {
                  onNewest(newest);
                  change.reset();
                }}
              >
                Keep my text, and write over theirs
              </Button>
              <Button
                size="xs"
                variant="default"
                onClick={() => {
                  onNewest(newest);
                  setWords(description(newest));
                  change.reset();
                }}
              >
                Take theirs
              </Button>
            </Group>
          </Stack>
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={change.isPending} disabled={words === description(base)}>
            Save
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Deleting(props: { project: Project | undefined; apps: number; pods: number; onClose: () => void }) {
  const { project, apps, pods, onClose } = props;
  const remove = useDeleteProject();
  const name = project?.metadata.name ?? '';
  const close = () => {
    remove.reset();
    onClose();
  };
  if (apps > 0 || pods > 0) {
    return (
      <Modal opened={project !== undefined} onClose={close} title={`${name} is not empty`}>
        <Stack>
          <Text size="sm">
            There {apps + pods === 1 ? 'is' : 'are'} still{' '}
            {[apps > 0 && count(apps, 'app'), pods > 0 && count(pods, 'pod')].filter(Boolean).join(' and ')} in it.
            Delete them first: then nothing that somebody needs goes by mistake.
          </Text>
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Close
            </Button>
            <LinkButton to={apps > 0 ? '/apps' : '/pods'} search={{ project: name }}>
              To its {apps > 0 ? 'apps' : 'pods'}
            </LinkButton>
          </Group>
        </Stack>
      </Modal>
    );
  }
  return (
    <Confirm
      opened={project !== undefined}
      title={`Delete the project ${name}?`}
      verb="Delete"
      typed={name}
      busy={remove.isPending}
      error={remove.error}
      onConfirm={() => remove.mutate(name, { onSuccess: close })}
      onClose={close}
    >
      Its images and volumes go with it, and people who were let into it alone see nothing any more. This cannot be
      undone.
    </Confirm>
  );
}

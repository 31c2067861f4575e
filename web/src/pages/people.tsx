import { ActionIcon, Badge, Button, Group, Menu, Modal, Stack, Text } from '@mantine/core';
import { IconDots, IconPlus, IconUsers } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useChangeUser, useCreateUser, useDeleteUser, useSetPassword } from '../actions/user';
import { useProjects } from '../model/collections';
import { useMay, useMe } from '../model/me';
import type { User } from '../model/schema';
import { scopeWords, useUsers } from '../model/user';
import { Confirm } from '../view/confirm';
import { FilterBar, matches } from '../view/filter_bar';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { RolesExplained } from '../view/role';
import { type Column, DataTable } from '../view/table';
import { Ago } from '../view/text';
import { EditUserForm, NewUserForm, ResetPasswordForm } from '../view/user';

const route = getRouteApi('/inside/people');

/** Which dialog is open, and for whom. */
type Dialog = { what: 'edit' | 'password' | 'delete'; user: User };

const COLORS = { admin: 'grape', developer: 'blue', viewer: 'gray' } as const;

export default function PeoplePage() {
  const mayAdmin = useMay('admin');
  if (!mayAdmin) {
    return (
      <Page title="People">
        <EmptyState icon={<IconUsers />} title="Only administrators see this">
          They make people and say who may do what. What you may do is shown under Tokens.
        </EmptyState>
      </Page>
    );
  }
  return <People />;
}

function People() {
  const users = useUsers();
  const me = useMe();
  const { q, create } = route.useSearch();
  const navigate = useNavigate({ from: '/people' });
  const [dialog, setDialog] = useState<Dialog>();
  const names = useProjects()?.map(({ metadata }) => metadata.name) ?? [];
  const shown = users.data?.filter(({ metadata, spec }) =>
    matches(q, metadata.name, spec.role, scopeWords(spec.projects)),
  );
  const columns = useMemo(() => columnsFor(me?.user, setDialog), [me?.user]);
  const open = (given: string | undefined) =>
    void navigate({ search: (before) => ({ ...before, create: given }), replace: true });
  return (
    <Page
      title="People"
      lead="Who may log in, and what they may do."
      actions={
        <Button leftSection={<IconPlus size={16} />} onClick={() => open('yes')}>
          Add a person
        </Button>
      }
    >
      <section aria-label="What the roles mean">
        <RolesExplained />
      </section>
      {users.error !== null ? (
        <ProblemAlert error={users.error} retry={() => void users.refetch()} />
      ) : shown === undefined ? (
        <Loading />
      ) : (
        <Stack gap="sm">
          {(users.data?.length ?? 0) > 8 && (
            <FilterBar
              words={q}
              onWords={(q) => void navigate({ search: (before) => ({ ...before, q }), replace: true })}
              placeholder="Find a person"
            />
          )}
          <DataTable label="People" rows={shown} columns={columns} rowKey={(user) => user.metadata.name} />
          {users.data?.length === 1 && (
            <Text size="sm" c="dimmed">
              You are alone so far. Give everybody who works here a name of their own: then the activity says who did
              what.
            </Text>
          )}
        </Stack>
      )}
      <CreateDialog opened={create !== undefined} projects={names} onClose={() => open(undefined)} />
      {dialog !== undefined && (
        <UserDialog
          key={`${dialog.what} ${dialog.user.metadata.name}`}
          dialog={{
            ...dialog,
            // As it is now: somebody else may change it while the dialog is open.
            user: users.data?.find(({ metadata }) => metadata.name === dialog.user.metadata.name) ?? dialog.user,
          }}
          projects={names}
          onClose={() => setDialog(undefined)}
        />
      )}
    </Page>
  );
}

function columnsFor(me: string | undefined, open: (dialog: Dialog) => void): Column<User>[] {
  return [
    {
      key: 'name',
      title: 'Name',
      width: '2fr',
      cell: ({ metadata }) => (
        <Group gap={8} wrap="nowrap">
          <Text size="sm" fw={550} truncate>
            {metadata.name}
          </Text>
          {metadata.name === me && (
            <Badge size="xs" color="gray">
              you
            </Badge>
          )}
        </Group>
      ),
    },
    {
      key: 'role',
      title: 'Role',
      width: '120px',
      cell: ({ spec }) => <Badge color={COLORS[spec.role]}>{spec.role}</Badge>,
    },
    {
      key: 'projects',
      title: 'Where',
      width: '2fr',
      wide: true,
      cell: ({ spec }) => (spec.role === 'admin' ? 'Everywhere' : scopeWords(spec.projects)),
    },
    {
      key: 'created',
      title: 'Since',
      width: '140px',
      wide: true,
      cell: ({ metadata }) => <Ago at={metadata.created} />,
    },
    {
      key: 'do',
      title: '',
      width: '44px',
      cell: (user) => (
        <Menu position="bottom-end" withinPortal>
          <Menu.Target>
            <ActionIcon variant="subtle" color="gray" aria-label={`What can be done with ${user.metadata.name}`}>
              <IconDots size={16} />
            </ActionIcon>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => open({ what: 'edit', user })}>Change role and projects</Menu.Item>
            <Menu.Item onClick={() => open({ what: 'password', user })} disabled={user.metadata.name === me}>
              Set a new password
            </Menu.Item>
            <Menu.Divider />
            <Menu.Item color="red" onClick={() => open({ what: 'delete', user })} disabled={user.metadata.name === me}>
              Delete
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      ),
    },
  ];
}

function CreateDialog(props: { opened: boolean; projects: readonly string[]; onClose: () => void }) {
  const create = useCreateUser();
  return (
    <Modal opened={props.opened} onClose={props.onClose} title="Add a person" size="lg">
      {props.opened && (
        <NewUserForm
          projects={props.projects}
          busy={create.isPending}
          error={create.error}
          onClose={props.onClose}
          onCreate={(person) => create.mutate(person, { onSuccess: props.onClose })}
        />
      )}
    </Modal>
  );
}

function UserDialog(props: { dialog: Dialog; projects: readonly string[]; onClose: () => void }) {
  const { what, user } = props.dialog;
  const { name } = user.metadata;
  const change = useChangeUser();
  const password = useSetPassword();
  const remove = useDeleteUser();
  if (what === 'delete') {
    return (
      <Confirm
        opened
        title={`Delete ${name}`}
        verb="Delete this person"
        typed={name}
        busy={remove.isPending}
        error={remove.error}
        onClose={props.onClose}
        onConfirm={() => remove.mutate(name, { onSuccess: props.onClose })}
      >
        {name} is logged out everywhere, and every token of theirs opens nothing any more, also where a program uses it.
        Their apps stay, and so does what the activity tells of them.
      </Confirm>
    );
  }
  return (
    <Modal
      opened
      onClose={props.onClose}
      title={what === 'edit' ? `What ${name} may do` : `A new password for ${name}`}
      size="lg"
    >
      {what === 'edit' ? (
        <EditUserForm
          user={user}
          projects={props.projects}
          busy={change.isPending}
          error={change.error}
          onClose={props.onClose}
          onChange={(given) => change.mutate({ user, ...given }, { onSuccess: props.onClose })}
        />
      ) : (
        <ResetPasswordForm
          user={name}
          busy={password.isPending}
          error={password.error}
          onClose={props.onClose}
          onSet={(given) => password.mutate({ user: name, password: given }, { onSuccess: props.onClose })}
        />
      )}
    </Modal>
  );
}

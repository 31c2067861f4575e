import { Badge, Button, Card, Group, Modal, Stack, Text, Title } from '@mantine/core';
import { IconKey, IconPlus } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useLogout } from '../actions/session';
import { useCreateToken, useRevokeToken } from '../actions/token';
import { useSetPassword } from '../actions/user';
import { useProjects } from '../model/collections';
import { useMe } from '../model/me';
import type { Token, WhoAmI } from '../model/schema';
import { hasEnded, useTokens } from '../model/token';
import { scopeWords } from '../model/user';
import { Confirm } from '../view/confirm';
import { Facts } from '../view/facts';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { type Column, DataTable } from '../view/table';
import { Ago, useNow } from '../view/text';
import { MadeTokenView, NewTokenForm, OwnPasswordForm } from '../view/token';

const route = getRouteApi('/inside/tokens');

export default function TokensPage() {
  const me = useMe();
  const { create } = route.useSearch();
  const navigate = useNavigate({ from: '/tokens' });
  const open = (given: string | undefined) =>
    void navigate({ search: (before) => ({ ...before, create: given }), replace: true });
  return (
    <Page
      title="Tokens and password"
      lead="A token lets a program in under your name: the command line, a build server, docker. It never opens more than you may."
      actions={
        <Button leftSection={<IconPlus size={16} />} onClick={() => open('yes')}>
          New token
        </Button>
      }
    >
      <Tokens onCreate={() => open('yes')} />
      {me === undefined ? <Loading rows={2} /> : <Account me={me} />}
      {me !== undefined && <CreateDialog me={me} opened={create !== undefined} onClose={() => open(undefined)} />}
    </Page>
  );
}

function Tokens({ onCreate }: { onCreate: () => void }) {
  const tokens = useTokens();
  const revoke = useRevokeToken();
  const [asking, setAsking] = useState<string>();
  const now = useNow();
  const columns = useMemo(() => columnsFor(now, setAsking), [now]);
  const shown = tokens.data?.filter((token) => token.spec.purpose !== 'session');
  if (tokens.error !== null) return <ProblemAlert error={tokens.error} retry={() => void tokens.refetch()} />;
  if (shown === undefined) return <Loading />;
  return (
    <>
      {shown.length === 0 ? (
        <EmptyState
          icon={<IconKey />}
          title="You have no tokens"
          action={
            <Button variant="light" onClick={onCreate}>
              Make one
            </Button>
          }
        >
          You need one when a program is to deploy for you, or when you push images with docker. In the browser you need
          none.
        </EmptyState>
      ) : (
        <DataTable label="Your tokens" rows={shown} columns={columns} rowKey={(token) => token.metadata.name} />
      )}
      <Confirm
        opened={asking !== undefined}
        title={`Revoke ${asking ?? ''}`}
        verb="Revoke it"
        busy={revoke.isPending}
        error={revoke.error}
        onClose={() => setAsking(undefined)}
        onConfirm={() => {
          if (asking !== undefined) revoke.mutate(asking, { onSuccess: () => setAsking(undefined) });
        }}
      >
        Programs that use this token are refused from now on. It cannot be brought back; you can make a new one.
      </Confirm>
    </>
  );
}

function columnsFor(now: number, revoke: (name: string) => void): Column<Token>[] {
  return [
    {
      key: 'name',
      title: 'Name',
      width: '2fr',
      cell: ({ metadata }) => (
        <Text size="sm" fw={550} truncate>
          {metadata.name}
        </Text>
      ),
    },
    {
      key: 'role',
      title: 'Opens',
      width: '120px',
      wide: true,
      cell: ({ spec }) => <Badge color="gray">{spec.role}</Badge>,
    },
    { key: 'projects', title: 'Where', width: '2fr', wide: true, cell: ({ spec }) => scopeWords(spec.projects) },
    {
      key: 'expires',
      title: 'Ends',
      width: '130px',
      cell: ({ spec }) =>
        spec.expires == null ? (
          'never'
        ) : hasEnded(spec.expires, now) ? (
          <Badge color="red">ended</Badge>
        ) : (
          <Ago at={spec.expires} />
        ),
    },
    {
      key: 'used',
      title: 'Last used',
      width: '130px',
      wide: true,
      cell: ({ status }) => (status.last_used == null ? 'not yet' : <Ago at={status.last_used} />),
    },
    {
      key: 'do',
      title: '',
      width: '90px',
      cell: ({ metadata }) => (
        <Button
          size="compact-sm"
          variant="subtle"
          color="red"
          onClick={() => revoke(metadata.name)}
          aria-label={`Revoke ${metadata.name}`}
        >
          Revoke
        </Button>
      ),
    },
  ];
}

function Account({ me }: { me: WhoAmI }) {
  const password = useSetPassword();
  const logout = useLogout();
  return (
    <>
      <Card component="section" aria-label="Your session">
        <Stack gap="sm">
          <Title order={2} size="h4">
            You
          </Title>
          <Facts
            facts={[
              { label: 'User name', value: me.user },
              { label: 'Role', value: me.role, hint: 'What you may do. An administrator can change it.' },
              { label: 'Where', value: scopeWords(me.projects) },
              {
                label: 'This session',
                hint: 'You stay logged in in this browser until then. Then you are asked for your password again; what you typed stays.',
                value:
                  me.expires == null ? null : (
                    <>
                      ends <Ago at={me.expires} />
                    </>
                  ),
              },
            ]}
          />
          <Group>
            <Button size="xs" variant="default" loading={logout.isPending} onClick={() => logout.mutate()}>
              Log out here
            </Button>
          </Group>
        </Stack>
      </Card>
      <Card component="section" aria-label="Change your password">
        <Stack gap="sm">
          <Title order={2} size="h4">
            Change your password
          </Title>
          <Text size="sm" c="dimmed">
            All of your sessions end, on every machine, and you log in anew. Your tokens go on.
          </Text>
          <OwnPasswordForm
            busy={password.isPending}
            error={password.error}
            onSet={(given) => password.mutate({ user: me.user, ...given })}
          />
        </Stack>
      </Card>
    </>
  );
}

function CreateDialog({ me, opened, onClose }: { me: WhoAmI; opened: boolean; onClose: () => void }) {
  const create = useCreateToken();
  const projects = useProjects()?.map(({ metadata }) => metadata.name) ?? [];
  const close = () => {
    create.reset();
    onClose();
  };
  const made = create.data;
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={made === undefined ? 'New token' : `Token ${made.metadata.name}`}
      size="lg"
      // A secret that is shown once is not closed by a click beside it.
      closeOnClickOutside={made === undefined}
    >
      {!opened ? null : made === undefined ? (
        <NewTokenForm
          role={me.role}
          mayAll={me.projects === 'all'}
          projects={me.projects === 'all' ? projects : me.projects.only}
          busy={create.isPending}
          error={create.error}
          onClose={close}
          onCreate={(token) => create.mutate(token)}
        />
      ) : (
        <MadeTokenView secret={made.secret} server={window.location.origin} onClose={close} />
      )}
    </Modal>
  );
}

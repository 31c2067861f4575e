/** Making a token, and showing its secret the one time. */
import { Alert, Button, Code, Group, PasswordInput, Select, Stack, Text, TextInput } from '@mantine/core';
import { IconKey } from '@tabler/icons-react';
import { useState } from 'react';
import type { NewToken, ProjectScope, Role } from '../model/schema';
import { LASTS } from '../model/token';
import { ProblemAlert } from './page';
import { PasswordField } from './password_field';
import { RoleChoice, ScopeChoice } from './role';
import { Copyable } from './text';

interface NewTokenFormProps {
  /** What whoever makes it may do: a token never opens more. */
  role: Role;
  mayAll: boolean;
  projects: readonly string[];
  busy: boolean;
  error: unknown;
  onCreate: (token: NewToken) => void;
  onClose: () => void;
}

export function NewTokenForm({ role: most, mayAll, projects, busy, error, onCreate, onClose }: NewTokenFormProps) {
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>(most === 'viewer' ? 'viewer' : 'developer');
  const [scope, setScope] = useState<ProjectScope>(mayAll ? 'all' : { only: [...projects] });
  const [lasts, setLasts] = useState('30d');
  const ready = name !== '' && (scope === 'all' || scope.only.length > 0);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!ready) return;
        onCreate({ name, role, projects: scope, ...(lasts === '' ? {} : { expires_in: lasts }) });
      }}
    >
      <Stack>
        <TextInput
          label="Name"
          description="What it is for, such as ci or laptop. Small letters, digits and hyphens."
          value={name}
          onChange={(event) => setName(event.currentTarget.value.trim())}
          autoComplete="off"
          spellCheck={false}
          required
          data-autofocus
        />
        <RoleChoice value={role} most={most} onChange={setRole} />
        <ScopeChoice value={scope} projects={projects} mayAll={mayAll} allWords="Wherever I may" onChange={setScope} />
        <Select
          label="Ends after"
          description="A token that ends by itself does no harm where it was forgotten."
          data={[...LASTS]}
          value={lasts}
          onChange={(value) => setLasts(value ?? '')}
          allowDeselect={false}
        />
        {error != null && <ProblemAlert error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy} disabled={!ready}>
            Make the token
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

export function MadeTokenView(props: { secret: string; server: string; onClose: () => void }) {
  const { secret, server, onClose } = props;
  return (
    <Stack>
      <Alert color="orange" icon={<IconKey />} title="Copy it now">
        This is the only time that it is shown. Whoever has it can do what it opens, so treat it like a password.
      </Alert>
      <Copyable value={secret} label="Copy the token" />
      <Text size="sm">With the command line:</Text>
      <Code block>{`export CORACLE_URL=${server}\nexport CORACLE_TOKEN=THE-TOKEN\ncoracle apps`}</Code>
      <Text size="sm">
        With any program: send it as the header <Code>Authorization: Bearer THE-TOKEN</Code>. For{' '}
        <Code>docker login</Code> it is the password.
      </Text>
      <Group justify="flex-end">
        <Button onClick={onClose}>I have copied it</Button>
      </Group>
    </Stack>
  );
}

interface OwnPasswordFormProps {
  busy: boolean;
  error: unknown;
  onSet: (passwords: { current: string; password: string }) => void;
}

export function OwnPasswordForm({ busy, error, onSet }: OwnPasswordFormProps) {
  const [current, setCurrent] = useState('');
  const [password, setPassword] = useState({ value: '', made: '' });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        onSet({ current, password: password.value });
      }}
    >
      <Stack maw={520}>
        <PasswordInput
          label="Present password"
          value={current}
          onChange={(event) => setCurrent(event.currentTarget.value)}
          autoComplete="current-password"
          required
        />
        <PasswordField
          label="New password"
          value={password.value}
          made={password.made}
          onChange={(value, made) => setPassword({ value, made })}
        />
        {error != null && <ProblemAlert error={error} />}
        <Group>
          <Button type="submit" variant="light" loading={busy} disabled={current === '' || password.value === ''}>
            Change the password
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

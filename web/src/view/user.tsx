/** Forms for people. */
import { Alert, Button, Group, Stack, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import type { ProjectScope, Role, User } from '../model/schema';
import { scopeWords } from '../model/user';
import { ProblemAlert } from './page';
import { PasswordField } from './password_field';
import { RoleChoice, ScopeChoice } from './role';

interface FormProps {
  busy: boolean;
  error: unknown;
  onClose: () => void;
}

function Buttons({ verb, busy, ready, onClose }: { verb: string; busy: boolean; ready: boolean; onClose: () => void }) {
  return (
    <Group justify="flex-end">
      <Button variant="default" onClick={onClose}>
        Cancel
      </Button>
      <Button type="submit" loading={busy} disabled={!ready}>
        {verb}
      </Button>
    </Group>
  );
}

/** An administrator is everywhere, so there is nothing to choose. */
const isWhole = (role: Role, scope: ProjectScope) => role === 'admin' || scope === 'all' || scope.only.length > 0;

export function NewUserForm(
  props: FormProps & {
    projects: readonly string[];
    onCreate: (person: { name: string; password: string; role: Role; projects: ProjectScope }) => void;
  },
) {
  const { projects, busy, error, onCreate, onClose } = props;
  const [name, setName] = useState('');
  const [password, setPassword] = useState({ value: '', made: '' });
  const [role, setRole] = useState<Role>('developer');
  const [scope, setScope] = useState<ProjectScope>('all');
  const ready = name !== '' && password.value !== '' && isWhole(role, scope);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (ready) onCreate({ name, password: password.value, role, projects: role === 'admin' ? 'all' : scope });
      }}
    >
      <Stack>
        <TextInput
          label="User name"
          description="Small letters, digits and hyphens. It cannot be changed later."
          value={name}
          onChange={(event) => setName(event.currentTarget.value.trim())}
          autoComplete="off"
          spellCheck={false}
          required
          data-autofocus
        />
        <PasswordField
          label="First password"
          description="Tell it to them; they can change it under Tokens."
          value={password.value}
          made={password.made}
          onChange={(value, made) => setPassword({ value, made })}
        />
        <RoleChoice value={role} most="admin" onChange={setRole} />
        {role !== 'admin' && (
          <ScopeChoice value={scope} projects={projects} mayAll allWords="In all projects" onChange={setScope} />
        )}
        {error != null && <ProblemAlert error={error} />}
        <Buttons verb="Add this person" busy={busy} ready={ready} onClose={onClose} />
      </Stack>
    </form>
  );
}

export function EditUserForm(
  props: FormProps & {
    user: User;
    projects: readonly string[];
    onChange: (change: { role: Role; projects: ProjectScope }) => void;
  },
) {
  const { user, projects, busy, error, onChange, onClose } = props;
  const [role, setRole] = useState<Role>(user.spec.role);
  const [scope, setScope] = useState<ProjectScope>(user.spec.projects ?? 'all');
  const [revision, setRevision] = useState(user.metadata.revision);
  const elsewhere = user.metadata.revision !== revision;
  const ready = isWhole(role, scope);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (ready) onChange({ role, projects: role === 'admin' ? 'all' : scope });
      }}
    >
      <Stack>
        <RoleChoice value={role} most="admin" onChange={setRole} />
        {role !== 'admin' && (
          <ScopeChoice value={scope} projects={projects} mayAll allWords="In all projects" onChange={setScope} />
        )}
        {elsewhere && (
          <Alert color="orange" title="Somebody else changed this meanwhile" role="status">
            <Stack gap="xs" align="flex-start">
              <Text size="sm">
                It is now: {user.spec.role}, {scopeWords(user.spec.projects).toLowerCase()}. If you save, yours is taken
                instead.
              </Text>
              <Button
                size="xs"
                variant="default"
                onClick={() => {
                  setRole(user.spec.role);
                  setScope(user.spec.projects ?? 'all');
                  setRevision(user.metadata.revision);
                }}
              >
                Take theirs
              </Button>
            </Stack>
          </Alert>
        )}
        <Text size="sm" c="dimmed">
          It holds at once, also for tokens that they made: a token never opens more than its owner may.
        </Text>
        {error != null && <ProblemAlert error={error} />}
        <Buttons verb="Save" busy={busy} ready={ready} onClose={onClose} />
      </Stack>
    </form>
  );
}

export function ResetPasswordForm(props: FormProps & { user: string; onSet: (password: string) => void }) {
  const { user, busy, error, onSet, onClose } = props;
  const [password, setPassword] = useState({ value: '', made: '' });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (password.value !== '') onSet(password.value);
      }}
    >
      <Stack>
        <Text size="sm">
          All sessions of {user} end, and they log in with the new password. Their tokens go on. Copy the password
          before you save it: it is not shown again.
        </Text>
        <PasswordField
          label="New password"
          value={password.value}
          made={password.made}
          onChange={(value, made) => setPassword({ value, made })}
        />
        {error != null && <ProblemAlert error={error} />}
        <Buttons verb="Set the password" busy={busy} ready={password.value !== ''} onClose={onClose} />
      </Stack>
    </form>
  );
}

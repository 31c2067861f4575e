import { Button, PasswordInput, Stack, TextInput } from '@mantine/core';
import { useState } from 'react';
import type { Login } from '../model/schema';
import { ProblemAlert } from './page';

/** Name and password; `user` is fixed where somebody goes on with a session that ended. */
export function LoginForm(props: { user?: string; busy: boolean; error: unknown; onLogin: (login: Login) => void }) {
  const [user, setUser] = useState(props.user ?? '');
  const [password, setPassword] = useState('');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        props.onLogin({ user, password });
      }}
    >
      <Stack>
        <TextInput
          label="User name"
          name="username"
          autoComplete="username"
          value={user}
          onChange={(event) => setUser(event.currentTarget.value)}
          required
          data-autofocus={props.user === undefined || undefined}
        />
        <PasswordInput
          label="Password"
          name="password"
          autoComplete="current-password"
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          required
          data-autofocus={props.user !== undefined || undefined}
        />
        {props.error != null && <ProblemAlert error={props.error} />}
        <Button type="submit" loading={props.busy} fullWidth>
          Log in
        </Button>
      </Stack>
    </form>
  );
}

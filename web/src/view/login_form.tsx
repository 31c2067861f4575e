import { Button, PasswordInput, Stack, TextInput } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import type { Login } from '../model/schema';
import { ProblemAlert } from './page';

/** Name and password; `user` is fixed where somebody goes on with a session that ended. */
export function LoginForm(props: { user?: string; busy: boolean; error: unknown; onLogin: (login: Login) => void }) {
  const [user, setUser] = useState(props.user ?? '');
  const [password, setPassword] = useState('');
  const first = useRef<HTMLInputElement>(null);
  const again = props.user !== undefined;
  useEffect(() => first.current?.focus(), []);
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
          autoCapitalize="none"
          spellCheck={false}
          {...(again ? {} : { ref: first, 'data-autofocus': true })}
        />
        <PasswordInput
          label="Password"
          name="password"
          autoComplete="current-password"
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          required
          {...(again ? { ref: first, 'data-autofocus': true } : {})}
        />
        {props.error != null && <ProblemAlert error={props.error} />}
        <Button type="submit" loading={props.busy} fullWidth>
          Log in
        </Button>
      </Stack>
    </form>
  );
}

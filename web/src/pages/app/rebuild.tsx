/** Asks what of a Git repository is to be built, and leads to the build. */
import { Button, Group, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useRebuild } from '../../actions/rebuild';
import type { GitSource } from '../../model/schema';
import { ProblemAlert } from '../../view/page';
import { useAppRef } from './app_ref';

export function Rebuild({ source, onClose }: { source: GitSource; onClose: () => void }) {
  const app = useAppRef();
  const navigate = useNavigate();
  const rebuild = useRebuild();
  const [ref, setRef] = useState(source.ref ?? '');
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        const git = {
          url: source.url,
          ...(ref.trim() === '' ? {} : { ref: ref.trim() }),
          ...(source.path == null ? {} : { path: source.path }),
          ...(username === '' ? {} : { username }),
          ...(password === '' ? {} : { password }),
        };
        rebuild.mutate(
          { ref: app, git },
          {
            onSuccess: (build) => {
              onClose();
              void navigate({
                to: '/projects/$project/apps/$app/builds/$build',
                params: { ...app, build: build.metadata.name },
              });
            },
          },
        );
      }}
    >
      <Stack>
        <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
          Coracle fetches {source.url} anew, builds it, and releases what comes of it.
        </Text>
        <TextInput
          label="Branch, tag or commit"
          description="Empty: the branch that the repository calls its main one."
          value={ref}
          onChange={(event) => setRef(event.currentTarget.value)}
          spellCheck={false}
          autoComplete="off"
          data-autofocus
        />
        <Group grow align="flex-start">
          <TextInput
            label="User name"
            description="For a private repository"
            value={username}
            onChange={(event) => setUsername(event.currentTarget.value)}
            autoComplete="off"
          />
          <PasswordInput
            label="Password or token"
            description="It is used once and not kept"
            value={password}
            onChange={(event) => setPassword(event.currentTarget.value)}
            autoComplete="off"
          />
        </Group>
        {rebuild.error !== null && <ProblemAlert error={rebuild.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={rebuild.isPending}>
            Fetch and build
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

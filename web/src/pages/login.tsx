import { Card, Center, Group, Image, Stack, Text, Title } from '@mantine/core';
import { useRouter, useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useLogin } from '../actions/session';
import { LoginForm } from '../view/login_form';

export default function LoginPage() {
  const login = useLogin();
  const router = useRouter();
  const { next } = useSearch({ from: '/login' });
  useEffect(() => {
    document.title = 'Log in · Coracle';
  }, []);
  return (
    <Center component="main" mih="100vh" p="md">
      <Stack w="100%" maw={380} gap="lg">
        <Group justify="center" gap="sm">
          <Image src="/icon.svg" alt="" w={40} h={40} />
          <Title order={1} size="h2">
            Coracle
          </Title>
        </Group>
        <Card padding="lg" shadow="sm">
          <LoginForm
            busy={login.isPending}
            error={login.error}
            onLogin={(given) => login.mutate(given, { onSuccess: () => router.history.push(next ?? '/') })}
          />
        </Card>
        <Text size="sm" c="dimmed" ta="center">
          The first time: <code>coracle up</code> printed the user name and the password in the terminal.
        </Text>
      </Stack>
    </Center>
  );
}

/** What every page has: its title, where it stands, what can be done, and what it shows while there is nothing. */
import {
  Alert,
  Anchor,
  Breadcrumbs,
  Button,
  Code,
  Group,
  Skeleton,
  Stack,
  Text,
  ThemeIcon,
  Title,
} from '@mantine/core';
import { IconAlertCircle, IconCloudOff } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { type ReactNode, useEffect } from 'react';
import { ApiProblem, Unreachable } from '../model/problem';

interface Crumb {
  label: string;
  to: string;
}

export function Page(props: {
  title: string;
  sign?: ReactNode;
  lead?: ReactNode;
  crumbs?: Crumb[];
  actions?: ReactNode;
  children: ReactNode;
}) {
  const { title, sign, lead, crumbs, actions, children } = props;
  useEffect(() => {
    document.title = `${title} · Coracle`;
  }, [title]);
  return (
    <Stack gap="lg">
      <header>
        {crumbs !== undefined && crumbs.length > 0 && (
          <Breadcrumbs mb={4} aria-label="Where you are">
            {crumbs.map((crumb) => (
              <Anchor key={crumb.to} component={Link} to={crumb.to} size="sm">
                {crumb.label}
              </Anchor>
            ))}
          </Breadcrumbs>
        )}
        <Group justify="space-between" align="flex-start" gap="sm">
          <div style={{ minWidth: 0 }}>
            <Group gap="sm">
              <Title order={1} size="h2" style={{ overflowWrap: 'anywhere' }}>
                {title}
              </Title>
              {sign}
            </Group>
            {lead !== undefined && (
              <Text c="dimmed" size="sm" component="div">
                {lead}
              </Text>
            )}
          </div>
          {actions !== undefined && <Group gap="xs">{actions}</Group>}
        </Group>
      </header>
      {children}
    </Stack>
  );
}

/** Why something cannot be shown or done, in words, with the code that others can search for. */
export function ProblemAlert({ error, retry }: { error: unknown; retry?: () => void }) {
  const away = error instanceof Unreachable;
  const problem = error instanceof ApiProblem ? error.problem : undefined;
  const detail = error instanceof Error ? error.message : 'Something went wrong.';
  return (
    <Alert
      role="alert"
      color={away ? 'orange' : 'red'}
      icon={away ? <IconCloudOff /> : <IconAlertCircle />}
      title={problem?.title ?? (away ? 'No connection' : 'This did not work')}
    >
      <Stack gap={6} align="flex-start">
        <Text size="sm" style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
          {detail}
        </Text>
        {problem?.hint != null && <Text size="sm">{problem.hint}</Text>}
        {problem !== undefined && (
          <Text size="xs">
            Code <Code>{problem.code}</Code>
            {problem.field != null && (
              <>
                {' '}
                in <Code>{problem.field}</Code>
              </>
            )}
            {problem.request_id != null && (
              <>
                {' '}
                · request <Code>{problem.request_id}</Code>
              </>
            )}
          </Text>
        )}
        {retry !== undefined && (
          <Button size="xs" variant="light" color="gray" onClick={retry}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

/** A place where nothing is yet, and what to do about it. */
export function EmptyState(props: { icon: ReactNode; title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <Stack align="center" gap="xs" py={48} px="md" ta="center">
      <ThemeIcon size={56} radius="xl" variant="light">
        {props.icon}
      </ThemeIcon>
      <Title order={2} size="h4">
        {props.title}
      </Title>
      {props.children !== undefined && (
        <Text c="dimmed" size="sm" maw={480} component="div">
          {props.children}
        </Text>
      )}
      {props.action}
    </Stack>
  );
}

/** The shape of what is on its way. */
export function Loading({ rows = 4, height = 44 }: { rows?: number; height?: number }) {
  return (
    <Stack gap="xs" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the rows are all alike and never move
        <Skeleton key={row} height={height} />
      ))}
    </Stack>
  );
}

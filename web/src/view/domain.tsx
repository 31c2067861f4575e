/** Host names of an app: the form for one more, and what to enter where the domain was bought. */
import { ActionIcon, Alert, Anchor, Badge, Button, Group, Stack, Table, Text, TextInput, Tooltip } from '@mantine/core';
import { IconInfoCircle, IconTrash } from '@tabler/icons-react';
import { useState } from 'react';
import { isWeb } from '../model/address';
import { type AppDomain, type DnsRecord, readHost } from '../model/domain';
import { ProblemAlert } from './page';
import { Copyable } from './text';

export interface DomainFormProps {
  taken: readonly string[];
  busy: boolean;
  error: unknown;
  onAdd: (host: string, added: () => void) => void;
}

export function DomainForm({ taken, busy, error, onAdd }: DomainFormProps) {
  const [typed, setTyped] = useState('');
  const [tried, setTried] = useState(false);
  const read = readHost(typed);
  const there = 'host' in read && taken.includes(read.host);
  const problem = 'problem' in read ? read.problem : there ? 'The app has this name already.' : undefined;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        setTried(true);
        if ('host' in read && !there && !busy) {
          onAdd(read.host, () => {
            setTyped('');
            setTried(false);
          });
        }
      }}
    >
      <Stack gap="xs">
        <Group align="flex-start" gap="xs">
          <TextInput
            label="Another host name"
            placeholder="shop.example.com"
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            onBlur={() => setTried(typed !== '')}
            error={tried ? problem : undefined}
            spellCheck={false}
            autoComplete="off"
            autoCapitalize="off"
            inputMode="url"
            style={{ flex: '1 1 260px' }}
            maw={460}
          />
          <Button type="submit" loading={busy} mt={24}>
            Add
          </Button>
        </Group>
        {'host' in read && read.host !== typed.trim() && (
          <Text size="xs" c="dimmed">
            It is added as {read.host}
          </Text>
        )}
        {error != null && <ProblemAlert error={error} />}
      </Stack>
    </form>
  );
}

export interface DomainListProps {
  domains: readonly AppDomain[];
  /** Absent where the caller may not change them. */
  onRemove?: (host: string) => void;
}

/** The first one is the app's own and stays. */
export function DomainList({ domains, onRemove }: DomainListProps) {
  return (
    <Table aria-label="Host names">
      <Table.Tbody>
        {domains.map(({ host, url }, index) => (
          <Table.Tr key={host}>
            <Table.Td style={{ overflowWrap: 'anywhere' }}>
              {isWeb(url) ? (
                <Anchor href={url} target="_blank" rel="noreferrer" size="sm">
                  {host}
                </Anchor>
              ) : (
                host
              )}{' '}
              {index === 0 && <Badge color="gray">its own</Badge>}
            </Table.Td>
            <Table.Td w={50} ta="end">
              {index > 0 && onRemove !== undefined && (
                <Tooltip label="Remove it">
                  <ActionIcon
                    variant="subtle"
                    color="gray"
                    onClick={() => onRemove(host)}
                    aria-label={`Remove ${host}`}
                  >
                    <IconTrash size={16} />
                  </ActionIcon>
                </Tooltip>
              )}
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

/** What to do where the domain was bought, so that its name leads here. */
export function DnsHelp({ host, record }: { host: string; record: DnsRecord | undefined }) {
  if (record === undefined) {
    return (
      <Text size="sm">
        {host} is a name for tests: it only works on machines that know it by themselves or by their hosts file.
      </Text>
    );
  }
  return (
    <Alert color="blue" icon={<IconInfoCircle />} title={`So that ${host} leads here`}>
      <Stack gap="xs">
        <Text size="sm">Where you bought the domain, open its DNS settings and add this record:</Text>
        <Table withRowBorders={false} verticalSpacing={4} aria-label="DNS record">
          <Table.Tbody>
            <Table.Tr>
              <Table.Td w={80}>Type</Table.Td>
              <Table.Td>
                <Copyable value={record.type} />
              </Table.Td>
            </Table.Tr>
            <Table.Tr>
              <Table.Td>Name</Table.Td>
              <Table.Td>
                <Copyable value={record.name} />
              </Table.Td>
            </Table.Tr>
            <Table.Tr>
              <Table.Td>Value</Table.Td>
              <Table.Td>
                {record.value === undefined ? (
                  <Text size="sm">
                    the IP address of the machine that Coracle’s gateway runs on, as it is reached from outside (of type
                    AAAA for an IPv6 address)
                  </Text>
                ) : (
                  <Copyable value={record.value} />
                )}
              </Table.Td>
            </Table.Tr>
          </Table.Tbody>
        </Table>
        <Text size="xs" c="dimmed">
          Some call the name “@” for the domain itself, or want only the part before it. It can take up to a day until
          everybody sees the change.
        </Text>
      </Stack>
    </Alert>
  );
}

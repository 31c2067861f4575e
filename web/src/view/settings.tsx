/** The fields of the platform's settings. */
import {
  ActionIcon,
  Button,
  Card,
  Group,
  NumberInput,
  PasswordInput,
  SimpleGrid,
  Stack,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { newRegistry, type RegistryDraft, type SettingsDraft } from '../model/settings';

interface SettingsFieldsProps {
  draft: SettingsDraft;
  mayChange: boolean;
  onChange: (draft: SettingsDraft) => void;
}

export function SettingsFields({ draft, mayChange, onChange }: SettingsFieldsProps) {
  const put = (given: Partial<SettingsDraft>) => onChange({ ...draft, ...given });
  const readOnly = !mayChange;
  const number = (name: 'replicas' | 'cpu' | 'builds' | 'releases' | 'sessionDays') => ({
    value: draft[name],
    onChange: (value: string | number) => put({ [name]: value === '' ? '' : Number(value) }),
    readOnly,
  });
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
      <Section
        title="Domain"
        lead="Apps are served under names below it: hello of your domain example.org is hello.example.org."
      >
        <TextInput
          label="Domain"
          placeholder="as given at the start"
          description="Let a wildcard of your DNS lead here: *.example.org. Changing it changes the address of every app at once."
          value={draft.domain}
          onChange={(event) => put({ domain: event.currentTarget.value })}
          readOnly={readOnly}
          autoComplete="off"
          spellCheck={false}
        />
      </Section>
      <Section title="Sessions" lead="How long somebody stays logged in in a browser.">
        <NumberInput
          label="Days"
          placeholder="as the platform has it"
          min={1}
          max={365}
          allowDecimal={false}
          {...number('sessionDays')}
        />
      </Section>
      <Section
        title="What new apps get"
        lead="Where an app does not say it itself. Apps that are there already stay as they are."
      >
        <Group grow align="flex-start" preventGrowOverflow={false}>
          <NumberInput label="Pods" placeholder="1" min={0} max={1000} allowDecimal={false} {...number('replicas')} />
          <NumberInput label="Processors" placeholder="no limit" min={0.01} step={0.25} {...number('cpu')} />
          <TextInput
            label="Memory"
            placeholder="no limit"
            description="256Mi or 1Gi"
            inputWrapperOrder={['label', 'input', 'description', 'error']}
            value={draft.memory}
            onChange={(event) => put({ memory: event.currentTarget.value })}
            readOnly={readOnly}
          />
        </Group>
      </Section>
      <Section
        title="What is kept"
        lead="Of each app so many of the newest; older ones are swept away with their images."
      >
        <Group grow align="flex-start">
          <NumberInput label="Builds" placeholder="default" min={1} allowDecimal={false} {...number('builds')} />
          <NumberInput
            label="Releases"
            description="So far back one can roll back."
            inputWrapperOrder={['label', 'input', 'description', 'error']}
            placeholder="default"
            min={1}
            allowDecimal={false}
            {...number('releases')}
          />
        </Group>
      </Section>
      <div style={{ gridColumn: '1 / -1' }}>
        <Registries registries={draft.registries} readOnly={readOnly} onChange={(registries) => put({ registries })} />
      </div>
    </SimpleGrid>
  );
}

function Section({ title, lead, children }: { title: string; lead: string; children: ReactNode }) {
  return (
    <Card component="section" aria-label={title}>
      <Title order={2} size="h4">
        {title}
      </Title>
      <Text size="sm" c="dimmed" mb="sm">
        {lead}
      </Text>
      {children}
    </Card>
  );
}

interface RegistriesProps {
  registries: readonly RegistryDraft[];
  readOnly: boolean;
  onChange: (registries: RegistryDraft[]) => void;
}

function Registries({ registries, readOnly, onChange }: RegistriesProps) {
  const put = (id: number, given: Partial<RegistryDraft>) =>
    onChange(registries.map((registry) => (registry.id === id ? { ...registry, ...given } : registry)));
  return (
    <Section
      title="Registries of others"
      lead="Where images come from that are not in the registry here. Only those that want a login need to be named. A password can be set and not be read."
    >
      <Stack gap="sm">
        {registries.length === 0 && (
          <Text size="sm">None. Images of public registries are pulled without a login.</Text>
        )}
        {registries.map((registry) => (
          <Group key={registry.id} align="flex-end" gap="xs" role="group" aria-label={registry.host || 'New registry'}>
            <TextInput
              label="Host"
              placeholder="registry.example.org"
              value={registry.host}
              onChange={(event) => put(registry.id, { host: event.currentTarget.value })}
              readOnly={readOnly}
              required
              autoComplete="off"
              spellCheck={false}
              style={{ flex: '2 1 180px' }}
            />
            <TextInput
              label="User name"
              value={registry.username}
              onChange={(event) => put(registry.id, { username: event.currentTarget.value })}
              readOnly={readOnly}
              required
              autoComplete="off"
              style={{ flex: '1 1 140px' }}
            />
            <PasswordInput
              label="Password"
              placeholder={registry.hasPassword ? 'is set; type to replace it' : ''}
              value={registry.password}
              onChange={(event) => put(registry.id, { password: event.currentTarget.value })}
              readOnly={readOnly}
              required={!registry.hasPassword}
              autoComplete="new-password"
              style={{ flex: '1 1 180px' }}
            />
            {!readOnly && (
              <ActionIcon
                variant="subtle"
                color="red"
                size="lg"
                aria-label={`Take ${registry.host || 'this registry'} away`}
                onClick={() => onChange(registries.filter(({ id }) => id !== registry.id))}
              >
                <IconTrash size={16} />
              </ActionIcon>
            )}
          </Group>
        ))}
        {!readOnly && (
          <Group>
            <Button
              variant="default"
              size="xs"
              leftSection={<IconPlus size={14} />}
              onClick={() => onChange([...registries, newRegistry()])}
            >
              Add a registry
            </Button>
          </Group>
        )}
      </Stack>
    </Section>
  );
}

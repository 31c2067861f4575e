import { Alert, Button, Card, Code, Group, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { IconSettings } from '@tabler/icons-react';
import { useState } from 'react';
import { useChangeSettings } from '../actions/settings';
import { span } from '../model/format';
import { useMay } from '../model/me';
import { ApiProblem } from '../model/problem';
import type { System } from '../model/schema';
import { changedParts, draftOf, rebased, type Settings, specOf, useSettings } from '../model/settings';
import { useSystem } from '../model/system';
import { Facts } from '../view/facts';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { PhaseBadge } from '../view/phase';
import { SettingsFields } from '../view/settings';

export default function SettingsPage() {
  const may = useMay('viewer');
  return (
    <Page title="Settings" lead="What holds for the whole platform.">
      {may ? (
        <Whole />
      ) : (
        <EmptyState icon={<IconSettings />} title="These belong to the whole platform">
          Your access is to single projects. Each app has settings of its own on its page.
        </EmptyState>
      )}
    </Page>
  );
}

function Whole() {
  const settings = useSettings();
  const system = useSystem(true);
  const mayChange = useMay('admin');
  // A platform whose settings are all given at its start has none to be changed.
  const fixed = settings.error instanceof ApiProblem && settings.error.code === 'not_found';
  return (
    <>
      {fixed ? null : settings.error !== null ? (
        <ProblemAlert error={settings.error} retry={() => void settings.refetch()} />
      ) : settings.data === undefined ? (
        <Loading rows={4} height={120} />
      ) : (
        <Form settings={settings.data} mayChange={mayChange} />
      )}
      {system.data !== undefined && <Platform system={system.data} />}
      {mayChange && <Moving />}
    </>
  );
}

/** What was typed stays whatever others save meanwhile: it is told, and taken over only when somebody says so. */
function Form({ settings, mayChange }: { settings: Settings; mayChange: boolean }) {
  const [base, setBase] = useState(settings);
  const [draft, setDraft] = useState(() => draftOf(settings.spec));
  const save = useChangeSettings();
  const changed = changedParts(base.spec, specOf(draft));
  const elsewhere = settings.metadata.revision !== base.metadata.revision;
  const take = (from: Settings) => {
    setBase(from);
    setDraft(draftOf(from.spec));
    save.reset();
  };
  const keep = () => {
    setDraft(rebased(draft, base.spec, settings.spec));
    setBase(settings);
    save.reset();
  };
  // Nothing was typed: what others saved is simply shown.
  if (elsewhere && changed.length === 0 && !save.isPending) take(settings);
  const stale = save.error instanceof ApiProblem && save.error.problem.status === 409;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate({ base, spec: specOf(draft) }, { onSuccess: take });
      }}
    >
      <Stack gap="md">
        <SettingsFields draft={draft} mayChange={mayChange} onChange={setDraft} />
        {elsewhere && changed.length > 0 && (
          <Alert color="orange" title="Somebody else saved these settings meanwhile" role="status">
            <Stack gap="xs" align="flex-start">
              <Text size="sm">
                They changed: {changedParts(base.spec, settings.spec).join(', ') || 'nothing that is shown here'}. You
                changed: {changed.join(', ')}.
              </Text>
              <Group gap="xs">
                <Button size="xs" variant="default" onClick={() => take(settings)}>
                  Take theirs, drop mine
                </Button>
                <Button size="xs" variant="light" onClick={keep}>
                  Keep what I typed
                </Button>
              </Group>
            </Stack>
          </Alert>
        )}
        {save.error !== null && !(stale && elsewhere) && <ProblemAlert error={save.error} />}
        {mayChange && (
          <Group>
            <Button type="submit" loading={save.isPending} disabled={changed.length === 0}>
              Save
            </Button>
            {changed.length > 0 && (
              <>
                <Button variant="default" onClick={() => take(settings)}>
                  Undo my changes
                </Button>
                <Text size="sm" c="dimmed">
                  Changed: {changed.join(', ')}
                </Text>
              </>
            )}
          </Group>
        )}
      </Stack>
    </form>
  );
}

function Platform({ system }: { system: System }) {
  const { engine, store } = system;
  return (
    <Card component="section" aria-label="This platform">
      <Title order={2} size="h4" mb="sm">
        This platform
      </Title>
      <Facts
        facts={[
          { label: 'Coracle', value: `version ${system.version}` },
          { label: 'Domain', hint: 'Apps are served under names below it.', value: system.domain },
          { label: 'Running for', value: span(system.uptime_seconds * 1000) },
          {
            label: 'Engine',
            hint: 'What runs the pods: Docker on one machine, Kubernetes on many.',
            value: (
              <Group gap={8}>
                {engine.name} {engine.version}
                <PhaseBadge phase={engine.ready ? 'ready' : 'not ready'} size="sm" />
                {engine.reason != null && <Text size="sm">{engine.reason}</Text>}
              </Group>
            ),
          },
          {
            label: 'Store',
            hint: 'Where Coracle keeps what it knows of projects, apps and people.',
            value: store.writable ? 'takes writes' : (store.reason ?? 'takes no writes'),
          },
          { label: 'Gateways', hint: 'What carries visitors’ requests to the pods.', value: system.gateways.length },
        ]}
      />
    </Card>
  );
}

/** How everything is saved and moved: by the command line, because an archive and its passphrase belong in no browser. */
function Moving() {
  return (
    <Card component="section" aria-label="Export and import">
      <Title order={2} size="h4">
        Export and import
      </Title>
      <Text size="sm" c="dimmed" mb="sm">
        Everything of one or all projects fits in one file: apps, releases, images and secrets, these sealed with a
        passphrase of yours. Make one before an upgrade, or to move to another machine.
      </Text>
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <Code block>coracle export all.tar.zst --all</Code>
        <Code block>coracle import all.tar.zst</Code>
      </SimpleGrid>
    </Card>
  );
}

/** The releases of an app: what each was made from, what is different between two, and going back. */
import { Anchor, Button, Group, Menu, Modal, Select, Stack, Text } from '@mantine/core';
import { IconArrowBackUp, IconChevronDown, IconEye, IconRocket } from '@tabler/icons-react';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useDeployAgain, usePromote, useRollBack } from '../../actions/release';
import { appPath } from '../../model/app';
import { useApp, useApps, useReleases } from '../../model/collections';
import { advice } from '../../model/deployment';
import { may, useMay, useMe } from '../../model/me';
import { canGoBackTo, imageOf, originWords, releaseDiff, shortImage } from '../../model/release';
import type { App, Release } from '../../model/schema';
import { Confirm } from '../../view/confirm';
import { LinkButton } from '../../view/link_button';
import { EmptyState, Loading } from '../../view/page';
import { PhaseBadge } from '../../view/phase';
import { FailedRelease, PromoteForm, ReleaseDiff } from '../../view/release';
import { Section } from '../../view/section';
import { type Column, DataTable } from '../../view/table';
import { Ago, Copyable } from '../../view/text';
import { useAppRef } from './app_ref';

const FROM = '/inside/projects/$project/apps/$app/releases' as const;

export default function AppReleases() {
  const ref = useAppRef();
  const app = useApp(ref);
  const releases = useReleases(ref);
  const mayChange = useMay('developer', ref.project);
  if (app == null || releases === undefined) return <Loading rows={5} />;
  if (releases.length === 0) {
    return (
      <EmptyState
        icon={<IconRocket />}
        title="There are no releases yet"
        action={
          mayChange && (
            <LinkButton to="/new" search={ref}>
              Deploy something
            </LinkButton>
          )
        }
      >
        A release is an image together with its settings. Each deploy makes a new one, and you can go back to any of
        them.
      </EmptyState>
    );
  }
  return <Releases app={app} releases={releases} mayChange={mayChange && app.metadata.deleting == null} />;
}

type Question = { is: 'back' | 'promote'; release: Release };

function Releases({ app, releases, mayChange }: { app: App; releases: readonly Release[]; mayChange: boolean }) {
  const ref = useAppRef();
  const search = useSearch({ from: FROM });
  const navigate = useNavigate({ from: '/projects/$project/apps/$app/releases' });
  const live = app.status.release;
  const byName = (name: string | undefined) => releases.find(({ metadata }) => metadata.name === name);
  const chosen = byName(search.release) ?? releases.find(({ spec }) => spec.number === live) ?? releases[0];
  const [question, setQuestion] = useState<Question>();
  const back = useRollBack();
  const promote = usePromote();
  const again = useDeployAgain();
  const close = () => {
    setQuestion(undefined);
    back.reset();
    promote.reset();
  };
  const columns = useMemo(
    () =>
      columnsFor({
        chosen: chosen?.metadata.name,
        choose: (release) =>
          void navigate({
            search: ({ against: _, ...before }) => ({ ...before, release }),
            replace: true,
            resetScroll: false,
          }),
      }),
    [chosen?.metadata.name, navigate],
  );
  return (
    <Stack>
      <DataTable
        label="Releases"
        rows={releases}
        columns={columns}
        rowKey={(release) => release.metadata.uid ?? release.metadata.name}
        maxHeight="40vh"
      />
      {chosen !== undefined && (
        <Chosen
          app={app}
          release={chosen}
          releases={releases}
          against={byName(search.against)}
          onAgainst={(against) =>
            void navigate({
              search: { release: chosen.metadata.name, against },
              replace: true,
              resetScroll: false,
            })
          }
          actions={
            mayChange && (
              <Group gap="xs">
                {chosen.spec.number !== live && canGoBackTo(chosen) && (
                  <Button
                    size="xs"
                    leftSection={<IconArrowBackUp size={14} />}
                    onClick={() => setQuestion({ is: 'back', release: chosen })}
                  >
                    {chosen.spec.number < (live ?? 0) ? 'Go back to' : 'Release'} v{chosen.spec.number}
                    {chosen.spec.number < (live ?? 0) ? '' : ' again'}
                  </Button>
                )}
                {canGoBackTo(chosen) && (
                  <Menu position="bottom-end" withinPortal>
                    <Menu.Target>
                      <Button size="xs" variant="default" rightSection={<IconChevronDown size={14} />}>
                        More
                      </Button>
                    </Menu.Target>
                    <Menu.Dropdown maw={300}>
                      <Menu.Item onClick={() => again.mutate({ ref, base: chosen })}>
                        Deploy again with today’s variables
                      </Menu.Item>
                      <Menu.Item onClick={() => setQuestion({ is: 'promote', release: chosen })}>
                        Promote to another app…
                      </Menu.Item>
                    </Menu.Dropdown>
                  </Menu>
                )}
              </Group>
            )
          }
        />
      )}
      <Confirm
        opened={question?.is === 'back'}
        title={`Release v${question?.release.spec.number} again`}
        verb="Do it"
        busy={back.isPending}
        error={back.error}
        onClose={close}
        onConfirm={() => {
          if (question === undefined) return;
          back.mutate({ ref, to: question.release.spec.number, live }, { onSuccess: close });
        }}
      >
        A new release is made with the image, the processes and the variables of v{question?.release.spec.number}. What
        runs now goes on until it is ready. Data on volumes stays as it is.
      </Confirm>
      <Modal
        opened={question?.is === 'promote'}
        onClose={close}
        title={`Promote v${question?.release.spec.number} of ${ref.app}`}
      >
        {question?.is === 'promote' && (
          <Promotion
            release={question.release}
            busy={promote.isPending}
            error={promote.error}
            onClose={close}
            onPromote={(to) =>
              promote.mutate({ from: ref, release: question.release.spec.number, to }, { onSuccess: close })
            }
          />
        )}
      </Modal>
    </Stack>
  );
}

function Promotion(props: {
  release: Release;
  busy: boolean;
  error: unknown;
  onClose: () => void;
  onPromote: (to: { project: string; app: string }) => void;
}) {
  const ref = useAppRef();
  const me = useMe();
  const targets = (useApps() ?? [])
    .map(({ metadata }) => ({ project: metadata.project ?? '', app: metadata.name }))
    .filter(({ project, app }) => (project !== ref.project || app !== ref.app) && may(me, 'developer', project));
  const { release, ...others } = props;
  return <PromoteForm release={release.spec.number} targets={targets} {...others} />;
}

function Chosen(props: {
  app: App;
  release: Release;
  releases: readonly Release[];
  against: Release | undefined;
  onAgainst: (against: string) => void;
  actions: React.ReactNode;
}) {
  const { app, release, releases, against, onAgainst, actions } = props;
  const ref = useAppRef();
  const readsVariables = useMay('developer', ref.project);
  const { spec, metadata, status } = release;
  const live = releases.find(({ spec }) => spec.number === app.status.release);
  const before = releases.find((other) => other.spec.number < spec.number);
  const other = against ?? (live !== undefined && live !== release ? live : before);
  return (
    <Section
      title={`Release v${spec.number}`}
      lead={
        <>
          {originWords(spec.origin)}, by {spec.created_by}, <Ago at={metadata.created} />
        </>
      }
      actions={actions}
    >
      <Stack gap="md">
        {status.phase === 'failed' ? (
          <FailedRelease release={release}>
            <Text size="sm">{advice(status.reason, status.log ?? [])}</Text>
          </FailedRelease>
        ) : (
          status.reason != null && (
            <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
              {status.reason}
            </Text>
          )
        )}
        <Group gap="xs">
          <Text size="sm" c="dimmed">
            Image
          </Text>
          <Copyable value={imageOf(release)} shown={shortImage(imageOf(release))} label="Copy the image’s name" />
          {spec.origin.from === 'build' && (
            <Anchor component={Link} to={`${appPath(ref)}/builds/b${spec.origin.build}`} size="sm">
              Log of build b{spec.origin.build}
            </Anchor>
          )}
        </Group>
        {other === undefined ? (
          <Text size="sm" c="dimmed">
            It is the only release: there is nothing to compare it with.
          </Text>
        ) : (
          <>
            <Group gap="xs">
              <Text size="sm" fw={600}>
                What is different from
              </Text>
              <Select
                aria-label="Compare with"
                size="xs"
                w={170}
                data={releases
                  .filter((one) => one !== release)
                  .map((one) => ({
                    value: one.metadata.name,
                    label: `v${one.spec.number}${one.spec.number === app.status.release ? ' (live)' : ''}`,
                  }))}
                value={other.metadata.name}
                onChange={(value) => value !== null && onAgainst(value)}
                allowDeselect={false}
                searchable={releases.length > 8}
              />
            </Group>
            <ReleaseDiff
              groups={releaseDiff(other, release)}
              same={`Image, processes and volumes are the same as in v${other.spec.number}.`}
            />
            <Text size="xs" c="dimmed">
              {readsVariables
                ? 'Variables that are set on the Environment page are kept with each release and come back with it, but are not shown here.'
                : 'Variables are shown to developers only.'}
            </Text>
          </>
        )}
      </Stack>
    </Section>
  );
}

function columnsFor(props: { chosen: string | undefined; choose: (release: string) => void }): Column<Release>[] {
  const { chosen, choose } = props;
  return [
    {
      key: 'number',
      title: 'Release',
      width: '84px',
      cell: ({ spec, metadata }) => (
        <Anchor
          component="button"
          type="button"
          size="sm"
          fw={600}
          aria-pressed={metadata.name === chosen}
          onClick={() => choose(metadata.name)}
        >
          v{spec.number}
          {metadata.name === chosen && <IconEye size={13} aria-hidden style={{ marginLeft: 5, verticalAlign: -1 }} />}
        </Anchor>
      ),
    },
    {
      key: 'phase',
      title: 'State',
      width: '130px',
      cell: ({ status }) => <PhaseBadge phase={status.phase ?? 'pending'} />,
    },
    { key: 'from', title: 'Made from', width: '2fr', cell: ({ spec }) => originWords(spec.origin) },
    { key: 'by', title: 'By', width: '1fr', wide: true, cell: ({ spec }) => spec.created_by },
    {
      key: 'image',
      title: 'Image',
      width: '2fr',
      wide: true,
      cell: (release) => (
        <Text size="sm" truncate title={imageOf(release)}>
          {shortImage(imageOf(release))}
        </Text>
      ),
    },
    {
      key: 'created',
      title: 'When',
      width: '130px',
      cell: ({ metadata }) => <Ago at={metadata.created} />,
    },
  ];
}

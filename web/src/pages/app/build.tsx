/** One build: what it was made from, what became of it, and its log as it is written. */
import { Alert, Anchor, Button, Code, Modal, Stack, Text } from '@mantine/core';
import { IconAlertCircle, IconGitCommit, IconHammer, IconPlayerStop } from '@tabler/icons-react';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useCancelBuild } from '../../actions/build_cancel';
import { isWeb } from '../../model/address';
import { isGoing, sourceWords, took } from '../../model/build_list';
import { useOne } from '../../model/collections';
import { advice } from '../../model/deployment';
import { bytes, span } from '../../model/format';
import { buildLogSource, useLogFeed } from '../../model/log_stream';
import { useMay } from '../../model/me';
import type { AppRef } from '../../model/objects';
import { shortImage } from '../../model/release';
import type { Build } from '../../model/schema';
import { type Fact, Facts } from '../../view/facts';
import { LinkButton } from '../../view/link_button';
import { LogState } from '../../view/log/log_state';
import { LogView } from '../../view/log/log_view';
import { EmptyState, Loading, ProblemAlert } from '../../view/page';
import { PhaseBadge } from '../../view/phase';
import { Section } from '../../view/section';
import { Ago, Copyable, useNow } from '../../view/text';
import { useAppRef } from './app_ref';
import { Rebuild } from './rebuild';

const route = getRouteApi('/inside/projects/$project/apps/$app/builds/$build');

export default function AppBuild() {
  const ref = useAppRef();
  const { build: name } = route.useParams();
  const build = useOne('Build', ref.project, name, ref.app);
  if (build === undefined) return <Loading rows={3} height={120} />;
  if (build === null) {
    return (
      <EmptyState
        icon={<IconHammer />}
        title="There is no such build"
        action={
          <LinkButton to="/projects/$project/apps/$app/builds" params={ref} variant="light">
            All builds of {ref.app}
          </LinkButton>
        }
      >
        Old builds are cleared away after a while.
      </EmptyState>
    );
  }
  return <OneBuild key={name} build={build} />;
}

function OneBuild({ build }: { build: Build }) {
  const ref = useAppRef();
  const mayChange = useMay('developer', ref.project);
  const cancel = useCancelBuild();
  const now = useNow();
  const [rebuilding, setRebuilding] = useState(false);
  const { spec, status, metadata } = build;
  const time = took(build, now);
  const git = spec.source.type === 'git' ? spec.source : undefined;
  return (
    <Stack>
      <Section
        title={`Build b${spec.number}`}
        lead={
          <>
            Asked for by {spec.created_by}, <Ago at={metadata.created} />
            {time !== null && (isGoing(build) ? `, running for ${span(time)}` : `, took ${span(time)}`)}
          </>
        }
        actions={
          mayChange &&
          (isGoing(build) ? (
            <Button
              variant="light"
              color="red"
              size="xs"
              leftSection={<IconPlayerStop size={14} />}
              loading={cancel.isPending || spec.cancel === 'requested'}
              onClick={() => cancel.mutate({ ...ref, build: metadata.name })}
            >
              Stop the build
            </Button>
          ) : git !== undefined ? (
            <Button
              variant="light"
              size="xs"
              leftSection={<IconGitCommit size={14} />}
              onClick={() => setRebuilding(true)}
            >
              Build from Git again…
            </Button>
          ) : (
            <LinkButton to="/new" search={ref} variant="light" size="xs">
              New version
            </LinkButton>
          ))
        }
      >
        <Stack gap="sm">
          <Facts facts={factsOf(ref, build)} />
          {status.phase === 'failed' && (
            <Alert color="red" icon={<IconAlertCircle />} title="The build failed" role="alert">
              <Stack gap={6}>
                <Text size="sm" style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}>
                  {status.reason ?? 'Its log says why.'}
                </Text>
                <Text size="sm">{advice(status.reason, [])}</Text>
              </Stack>
            </Alert>
          )}
        </Stack>
      </Section>
      <BuildLog build={build} />
      <Modal opened={rebuilding} onClose={() => setRebuilding(false)} title="Build from Git again">
        {rebuilding && git !== undefined && <Rebuild source={git} onClose={() => setRebuilding(false)} />}
      </Modal>
    </Stack>
  );
}

function factsOf(ref: AppRef, build: Build): Fact[] {
  const { source } = build.spec;
  const { status } = build;
  const git = source.type === 'git' ? source : undefined;
  return [
    {
      label: 'State',
      value: <PhaseBadge phase={status.phase === 'running' ? 'building' : status.phase} />,
    },
    { label: 'Why', value: status.phase === 'failed' ? null : status.reason },
    { label: 'Source', value: git === undefined ? `${sourceWords(build)}, ${bytes(source.bytes)}` : null },
    {
      label: 'Repository',
      value:
        git === undefined ? null : isWeb(git.url) ? (
          <Anchor href={git.url} target="_blank" rel="noreferrer" size="sm">
            {git.url}
          </Anchor>
        ) : (
          git.url
        ),
    },
    { label: 'Branch or tag', value: git?.ref },
    { label: 'Folder', value: git?.path },
    {
      label: 'Commit',
      value:
        git === undefined ? null : (
          <Stack gap={2}>
            <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
              {git.commit.subject}
            </Text>
            <Text size="xs" c="dimmed" component="div">
              <Copyable value={git.commit.id} shown={git.commit.id.slice(0, 12)} label="Copy the commit’s id" /> by{' '}
              {git.commit.author}
              {git.commit.date != null && (
                <>
                  , <Ago at={git.commit.date} size="xs" />
                </>
              )}
            </Text>
          </Stack>
        ),
    },
    {
      label: 'Image',
      value: status.image == null ? null : <Code style={{ overflowWrap: 'anywhere' }}>{shortImage(status.image)}</Code>,
    },
    {
      label: 'Release',
      value:
        status.release == null ? null : (
          <Anchor
            size="sm"
            renderRoot={(props) => (
              <Link
                {...props}
                to="/projects/$project/apps/$app/releases"
                params={ref}
                search={{ release: `v${status.release}` }}
              />
            )}
          >
            v{status.release}
          </Anchor>
        ),
    },
  ];
}

function BuildLog({ build }: { build: Build }) {
  const ref = useAppRef();
  const { log, state, resume } = useLogFeed(buildLogSource(ref.project, ref.app, build.metadata.name));
  return (
    <>
      {state.phase === 'failed' && <ProblemAlert error={state.error} retry={resume} />}
      <LogView
        log={log}
        label={`Log of build b${build.spec.number}`}
        file={`${ref.project}-${ref.app}-b${build.spec.number}`}
        state={<LogState phase={state.phase} />}
        empty={
          state.phase === 'opening'
            ? 'Opening the log…'
            : build.status.phase === 'queued'
              ? 'The build waits for its turn. What it prints appears here.'
              : 'Nothing was printed.'
        }
        height="max(360px, calc(100dvh - 420px))"
      />
    </>
  );
}

/**
 * A new app: where it comes from, what was found in it, and its deployment. Each of the three is an address, so that
 * the page may be left, loaded again or shown to somebody else at any time.
 */

import { Button } from '@mantine/core';
import { IconLock } from '@tabler/icons-react';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { Packed } from '../actions/source';
import { useProjectsFor, usual } from '../model/project';
import { EmptyState, Loading, Page } from '../view/page';
import { Choose } from './new/choose';
import { Deployment } from './new/deployment';
import { Review } from './new/review';

const route = getRouteApi('/inside/new');

export default function NewPage() {
  const { project: wanted, from, app, source, build, release } = route.useSearch();
  const projects = useProjectsFor('developer');
  const project = usual(projects, wanted);
  // What was packed here stays in memory, so that it can be packed again with a file more.
  const [packed, setPacked] = useState<{ source: string; packed: Packed }>();
  if (projects === undefined) {
    return (
      <Page title="New app">
        <Loading />
      </Page>
    );
  }
  if (project === undefined) return <NoProject />;
  if (app !== undefined && (build !== undefined || release !== undefined)) {
    return <Deployment project={project} app={app} build={build} release={release} source={source} />;
  }
  if (source !== undefined) {
    return (
      <Review
        key={source}
        project={project}
        source={source}
        app={app}
        packed={packed?.source === source ? packed.packed : undefined}
        onPacked={(source, packed) => setPacked({ source, packed })}
      />
    );
  }
  return (
    <Choose
      project={project}
      projects={projects}
      from={from}
      app={app}
      onPacked={(source, packed) => setPacked({ source, packed })}
    />
  );
}

function NoProject() {
  return (
    <Page title="New app">
      <EmptyState
        icon={<IconLock />}
        title="There is no project that you may deploy to"
        action={
          <Button component={Link} to="/projects" variant="light">
            To the projects
          </Button>
        }
      >
        Apps belong to a project. Make one, or ask an administrator for the role of a developer in one.
      </EmptyState>
    </Page>
  );
}

/** The first minutes: from nothing to an app that runs, in three clicks. */
import { Anchor, Code, Group, Stack, Text, Title } from '@mantine/core';
import { IconFolderUp, IconGitBranch } from '@tabler/icons-react';
import { Link, useNavigate } from '@tanstack/react-router';
import { useProjectsFor, usual } from '../model/project';
import { LinkButton } from '../view/link_button';
import { EmptyState, Loading, Page } from '../view/page';
import { FromTemplate } from './new/choose';
import classes from './welcome.module.css';

const STEPS = [
  { title: 'Pick a template', text: 'Below. Each one is a small app that is complete.' },
  { title: 'Deploy it', text: 'Coracle shows what it found, builds it and starts it.' },
  { title: 'Open its address', text: 'It is on the web, and yours to change.' },
];

export default function WelcomePage() {
  return (
    <Page title="Welcome to Coracle" lead="Your own cloud: it takes what you made, and keeps it running.">
      <Welcome />
    </Page>
  );
}

/** Also what the overview shows while there is nothing to look over. */
export function Welcome() {
  const navigate = useNavigate();
  const projects = useProjectsFor('developer');
  const project = usual(projects);
  if (projects === undefined) return <Loading rows={2} height={140} />;
  if (project === undefined) {
    return (
      <EmptyState icon={<IconFolderUp />} title="Nothing runs here yet">
        You may look at things, but not deploy. What others deploy in your projects appears here.
      </EmptyState>
    );
  }
  return (
    <Stack gap="xl">
      <ol className={classes.steps}>
        {STEPS.map((step, index) => (
          <li key={step.title}>
            <span className={classes.number} aria-hidden>
              {index + 1}
            </span>
            <div>
              <Text fw={600}>{step.title}</Text>
              <Text size="sm" c="dimmed">
                {step.text}
              </Text>
            </div>
          </li>
        ))}
      </ol>
      <Stack gap="sm">
        <Title order={2} size="h4">
          Begin with a template
        </Title>
        <FromTemplate
          project={project}
          onSource={(source) => void navigate({ to: '/new', search: { project, source: source.metadata.name } })}
        />
      </Stack>
      <Stack gap="sm">
        <Title order={2} size="h4">
          Or with something of your own
        </Title>
        <Group>
          <LinkButton to="/new" search={{ project }} leftSection={<IconFolderUp size={16} />}>
            Drop a folder
          </LinkButton>
          <LinkButton
            to="/new"
            search={{ project, from: 'git' }}
            variant="default"
            leftSection={<IconGitBranch size={16} />}
          >
            From a Git repository
          </LinkButton>
        </Group>
        <Text size="sm" c="dimmed">
          In a terminal the same is <Code>coracle deploy</Code>. Everything that this dashboard does goes through the{' '}
          <Anchor component={Link} to="/reference" size="sm" underline="always">
            API
          </Anchor>
          , which is yours as well.
        </Text>
      </Stack>
    </Stack>
  );
}

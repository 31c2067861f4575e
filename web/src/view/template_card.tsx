import { Badge, Card, Group, SimpleGrid, Stack, Text, ThemeIcon, UnstyledButton } from '@mantine/core';
import {
  IconBolt,
  IconBrandNodejs,
  IconBrandPython,
  IconDatabase,
  IconRobot,
  IconTemplate,
  IconWorldWww,
} from '@tabler/icons-react';
import type { ReactNode } from 'react';
import type { Template } from '../model/schema';
import classes from './template_card.module.css';

const SIZE = 24;

const ICONS: Record<string, ReactNode> = {
  nodejs: <IconBrandNodejs size={SIZE} />,
  python: <IconBrandPython size={SIZE} />,
  postgresql: <IconDatabase size={SIZE} />,
  redis: <IconBolt size={SIZE} />,
  html: <IconWorldWww size={SIZE} />,
  worker: <IconRobot size={SIZE} />,
};

const CATEGORIES: Record<string, string> = { web: 'Web', database: 'Database', worker: 'Background work' };
const ORDER = ['web', 'worker', 'database'];

const place = (category: string) => {
  const found = ORDER.indexOf(category);
  return found < 0 ? ORDER.length : found;
};

/** What to begin with: each is deployed as it is, and yours to change later. */
export function TemplateGallery(props: {
  templates: readonly Template[];
  /** The one that was chosen and is being fetched. */
  busy: string | undefined;
  onChoose: (template: string) => void;
}) {
  const sorted = [...props.templates].sort((a, b) => place(a.category) - place(b.category));
  return (
    <SimpleGrid cols={{ base: 1, xs: 2, md: 3 }} spacing="sm">
      {sorted.map((template) => (
        <UnstyledButton
          key={template.name}
          className={classes.card}
          disabled={props.busy !== undefined}
          aria-busy={props.busy === template.name}
          onClick={() => props.onChoose(template.name)}
        >
          <Card h="100%" className={classes.inside}>
            <Stack gap="xs">
              <Group justify="space-between" wrap="nowrap">
                <Group gap="sm" wrap="nowrap">
                  <ThemeIcon variant="light" size={40} radius="md">
                    {Object.hasOwn(ICONS, template.icon) ? ICONS[template.icon] : <IconTemplate size={SIZE} />}
                  </ThemeIcon>
                  <Text fw={650}>{template.title}</Text>
                </Group>
                <Badge color="gray">{CATEGORIES[template.category] ?? template.category}</Badge>
              </Group>
              <Text size="sm" c="dimmed">
                {template.description}
              </Text>
              <Text size="sm" fw={600} c="var(--mantine-primary-color-light-color)">
                {props.busy === template.name ? 'One moment…' : 'Start with this'}
              </Text>
            </Stack>
          </Card>
        </UnstyledButton>
      ))}
    </SimpleGrid>
  );
}

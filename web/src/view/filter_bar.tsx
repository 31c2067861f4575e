/** What lists are narrowed by: a project and words. Both live in the page's address. */
import { Group, Select, TextInput } from '@mantine/core';
import { IconSearch } from '@tabler/icons-react';
import type { ReactNode } from 'react';

export interface FilterBarProps {
  /** The projects that there are; without it there is no choice of one. */
  projects?: readonly string[];
  project?: string | undefined;
  onProject?: (project: string | undefined) => void;
  words: string | undefined;
  onWords: (words: string | undefined) => void;
  placeholder: string;
  /** More that a list is narrowed by. */
  children?: ReactNode;
}

const EVERY = 'All projects';

export function FilterBar(props: FilterBarProps) {
  const { projects, project, onProject, words, onWords, placeholder, children } = props;
  return (
    <Group gap="xs" role="search">
      <TextInput
        aria-label={placeholder}
        placeholder={placeholder}
        leftSection={<IconSearch size={16} />}
        value={words ?? ''}
        onChange={(event) => onWords(event.currentTarget.value || undefined)}
        style={{ flex: '1 1 200px' }}
        maw={420}
      />
      {projects !== undefined && projects.length > 1 && onProject !== undefined && (
        <Select
          aria-label="Project"
          data={[{ value: '', label: EVERY }, ...projects]}
          value={project ?? ''}
          onChange={(value) => onProject(value || undefined)}
          allowDeselect={false}
          searchable={projects.length > 8}
          w={180}
        />
      )}
      {children}
    </Group>
  );
}

/** Do all words stand in one of the texts? Case makes no difference. */
export function matches(words: string | undefined, ...texts: (string | null | undefined)[]): boolean {
  if (words === undefined || words.trim() === '') return true;
  const all = texts.join(' ').toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

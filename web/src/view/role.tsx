/** Roles and where they hold: explained, chosen, and shown. */
import { Card, Group, MultiSelect, Radio, SegmentedControl, SimpleGrid, Stack, Text } from '@mantine/core';
import type { ProjectScope, Role } from '../model/schema';
import { ROLES } from '../model/user';

/** What the roles let people do, in plain words. */
export function RolesExplained() {
  return (
    <SimpleGrid cols={{ base: 1, sm: 3 }} spacing="sm">
      {ROLES.map(({ role, can, cannot }) => (
        <Card key={role} padding="sm">
          <Text fw={650} size="sm" tt="capitalize">
            {role}
          </Text>
          <Text size="sm" mt={4}>
            {can}
          </Text>
          <Text size="sm" c="dimmed" mt={4}>
            {cannot}
          </Text>
        </Card>
      ))}
    </SimpleGrid>
  );
}

const RANK: readonly Role[] = ['viewer', 'developer', 'admin'];

interface RoleChoiceProps {
  value: Role;
  /** No higher one is offered. */
  most: Role;
  onChange: (role: Role) => void;
}

export function RoleChoice({ value, most, onChange }: RoleChoiceProps) {
  const offered = ROLES.filter(({ role }) => RANK.indexOf(role) <= RANK.indexOf(most));
  return (
    <Radio.Group
      label="Role"
      value={value}
      onChange={(given) => {
        const role = RANK.find((role) => role === given);
        if (role !== undefined) onChange(role);
      }}
    >
      <Stack gap="xs" mt={6}>
        {offered.map(({ role, can }) => (
          <Radio key={role} value={role} label={role} description={can} />
        ))}
      </Stack>
    </Radio.Group>
  );
}

interface ScopeChoiceProps {
  value: ProjectScope;
  projects: readonly string[];
  /** Whether `all` may be chosen: who has single projects gives no more than those. */
  mayAll: boolean;
  allWords: string;
  onChange: (scope: ProjectScope) => void;
}

export function ScopeChoice({ value, projects, mayAll, allWords, onChange }: ScopeChoiceProps) {
  const only = value === 'all' ? undefined : value.only;
  return (
    <Stack gap={6}>
      <Text size="sm" fw={500}>
        Where
      </Text>
      {mayAll && (
        <Group>
          <SegmentedControl
            aria-label="Where"
            data={[
              { value: 'all', label: allWords },
              { value: 'only', label: 'Only in some' },
            ]}
            value={only === undefined ? 'all' : 'only'}
            onChange={(kind) => onChange(kind === 'all' ? 'all' : { only: [] })}
          />
        </Group>
      )}
      {only !== undefined && (
        <MultiSelect
          aria-label="Projects"
          placeholder={only.length === 0 ? 'Choose projects' : ''}
          data={[...new Set([...projects, ...only])]}
          value={only}
          onChange={(chosen) => onChange({ only: chosen })}
          searchable
        />
      )}
    </Stack>
  );
}

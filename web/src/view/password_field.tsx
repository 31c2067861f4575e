import { Button, Group, PasswordInput, Stack } from '@mantine/core';
import { makePassword } from '../model/user';
import { Copyable } from './text';

interface PasswordFieldProps {
  label: string;
  description?: string;
  value: string;
  /** The password that was made up here, to be taken along; empty when somebody typed one. */
  made: string;
  onChange: (value: string, made: string) => void;
}

/** A new password, typed or made up. A made one is shown, because somebody has to be told of it. */
export function PasswordField({ label, description, value, made, onChange }: PasswordFieldProps) {
  return (
    <Stack gap={6}>
      <Group align="flex-end" gap="xs">
        <PasswordInput
          label={label}
          {...(description === undefined ? {} : { description })}
          value={value}
          onChange={(event) => onChange(event.currentTarget.value, '')}
          autoComplete="new-password"
          required
          style={{ flex: '1 1 200px' }}
        />
        <Button
          variant="default"
          onClick={() => {
            const password = makePassword();
            onChange(password, password);
          }}
        >
          Make one up
        </Button>
      </Group>
      {made !== '' && made === value && <Copyable value={made} label="Copy the password" />}
    </Stack>
  );
}

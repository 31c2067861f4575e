/** A terminal in a pod, with a choice of shell. */
import { Select, TextInput } from '@mantine/core';
import { useState } from 'react';
import { openExec, SHELLS, shellCommand, whyRefused } from '../model/exec';
import { TerminalView } from '../view/terminal';

export interface PodTerminalProps {
  project: string;
  pod: string;
  /** What runs: one of `SHELLS`, or a program and its arguments. */
  command: string;
  onCommand: (command: string) => void;
  children?: React.ReactNode;
}

const OTHER = 'other';

export function PodTerminal({ project, pod, command, onCommand, children }: PodTerminalProps) {
  const known = SHELLS.some(({ value }) => value === command);
  const [other, setOther] = useState(known ? '' : command);
  const [asking, setAsking] = useState(!known);
  return (
    <TerminalView
      key={`${project}/${pod} ${command}`}
      label={`Terminal in ${pod}`}
      open={(size, handlers) => openExec({ project, pod }, shellCommand(command), size, handlers)}
      why={() => whyRefused({ project, pod })}
      onMissing={() => {
        // An image that has not this shell may have the one that nearly all have.
        if (command !== 'bash' && command !== 'ash') return false;
        onCommand('sh');
        return true;
      }}
    >
      {children}
      <Select
        size="xs"
        aria-label="What to run"
        data={[...SHELLS, { value: OTHER, label: 'Another program…' }]}
        value={asking ? OTHER : command}
        onChange={(value) => {
          setAsking(value === OTHER);
          if (value !== null && value !== OTHER) onCommand(value);
        }}
        allowDeselect={false}
        w={190}
      />
      {asking && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (other.trim() !== '') onCommand(other.trim());
          }}
        >
          <TextInput
            size="xs"
            aria-label="Program and its arguments"
            placeholder="psql -U app, then Enter"
            value={other}
            onChange={(event) => setOther(event.currentTarget.value)}
          />
        </form>
      )}
    </TerminalView>
  );
}

/**
 * The terminal itself. What programs print can move the cursor and choose colours in here, and nothing else: links are
 * not followed, and neither the window's title nor the clipboard is theirs. Loaded when the first terminal is opened.
 */
import '@xterm/xterm/css/xterm.css';
import { FitAddon } from '@xterm/addon-fit';
import { type ITheme, Terminal } from '@xterm/xterm';
import { useEffect, useRef } from 'react';
import type { ExecEnd, ExecHandlers, ExecSession, TerminalSize } from '../model/exec';

export interface TerminalScreenProps {
  label: string;
  scheme: 'light' | 'dark';
  screenReader: boolean;
  /** Starts a session; called once. */
  open: (size: TerminalSize, handlers: ExecHandlers) => ExecSession;
  onOpen: () => void;
  onEnd: (end: ExecEnd, lived: number) => void;
  /** Somebody wants out, by the keyboard. */
  onLeave: () => void;
}

/** Bytes that wait to be drawn; beyond this they are left out, because a browser cannot hold a program back. */
const MOST_WAITING = 8 * 1024 * 1024;
const LINES = 10_000;

const DARK: ITheme = {
  background: '#16191d',
  foreground: '#d5dbe1',
  cursor: '#6fd3de',
  selectionBackground: '#2f5d7c',
  black: '#3b434b',
  red: '#ff8b84',
  green: '#6fd486',
  yellow: '#e6c15c',
  blue: '#86b3ff',
  magenta: '#e29bf0',
  cyan: '#6fd3de',
  white: '#c9d1d9',
  brightBlack: '#98a3ad',
  brightRed: '#ff9d97',
  brightGreen: '#86e39b',
  brightYellow: '#f2d57e',
  brightBlue: '#a3c6ff',
  brightMagenta: '#efb5fa',
  brightCyan: '#8fe4ed',
  brightWhite: '#ffffff',
};

const LIGHT: ITheme = {
  background: '#fbfcfd',
  foreground: '#1f2429',
  cursor: '#0b7285',
  cursorAccent: '#ffffff',
  selectionBackground: '#bfe0ff',
  black: '#1b1f23',
  red: '#b3202a',
  green: '#1a6b2e',
  yellow: '#7a5300',
  blue: '#1655b8',
  magenta: '#8a2a9c',
  cyan: '#0b6b76',
  white: '#4a5259',
  brightBlack: '#5c656d',
  brightRed: '#b3202a',
  brightGreen: '#1a6b2e',
  brightYellow: '#7a5300',
  brightBlue: '#1655b8',
  brightMagenta: '#8a2a9c',
  brightCyan: '#0b6b76',
  brightWhite: '#22272c',
};

export default function TerminalScreen(props: TerminalScreenProps) {
  const { scheme, screenReader } = props;
  const box = useRef<HTMLDivElement>(null);
  const terminal = useRef<Terminal>(undefined);
  const given = useRef(props);
  given.current = props;

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const term = new Terminal({
      cursorBlink: true,
      fontFamily: getComputedStyle(element).fontFamily,
      fontSize: 13,
      scrollback: LINES,
      theme: given.current.scheme === 'dark' ? DARK : LIGHT,
      minimumContrastRatio: 4.5,
      screenReaderMode: given.current.screenReader,
      linkHandler: { activate: () => undefined },
    });
    terminal.current = term;
    const fit = new FitAddon();
    term.loadAddon(fit);
    term.open(element);
    term.textarea?.setAttribute('aria-label', given.current.label);
    fit.fit();
    let waiting = 0;
    let left = 0;
    const began = performance.now();
    const session = given.current.open(
      { columns: term.cols, rows: term.rows },
      {
        onOpen: () => given.current.onOpen(),
        onOutput: (bytes) => {
          if (waiting > MOST_WAITING) {
            left += bytes.length;
            return;
          }
          waiting += bytes.length;
          term.write(bytes, () => {
            waiting -= bytes.length;
            if (left === 0 || waiting > MOST_WAITING / 2) return;
            term.write(`\x1b[0m\r\n[${left.toLocaleString()} bytes came too fast to be shown]\r\n`);
            left = 0;
          });
        },
        onEnd: (end) => given.current.onEnd(end, performance.now() - began),
      },
    );
    const inputs = [
      term.onData((text) => session.write(text)),
      term.onBinary((text) => session.writeBytes(Uint8Array.from(text, (sign) => sign.charCodeAt(0) & 255))),
      term.onResize(({ cols, rows }) => session.resize({ columns: cols, rows })),
    ];
    term.attachCustomKeyEventHandler((event) => {
      if (event.type !== 'keydown') return true;
      // With something selected it is copied, as everywhere else; without, it interrupts the program.
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'c' && term.hasSelection()) return false;
      // The browser pastes; the program is not told of the key.
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'v') return false;
      if (event.shiftKey && event.key === 'F6') {
        given.current.onLeave();
        event.preventDefault();
        return false;
      }
      return true;
    });
    const observer = new ResizeObserver(() => fit.fit());
    observer.observe(element);
    term.focus();
    return () => {
      observer.disconnect();
      for (const input of inputs) input.dispose();
      session.close();
      term.dispose();
      terminal.current = undefined;
    };
  }, []);

  useEffect(() => {
    const term = terminal.current;
    if (term === undefined) return;
    term.options.theme = scheme === 'dark' ? DARK : LIGHT;
    term.options.screenReaderMode = screenReader;
  }, [scheme, screenReader]);

  return (
    <div
      style={{
        flex: 1,
        minHeight: 0,
        padding: 8,
        fontFamily: 'var(--mantine-font-family-monospace)',
        background: (scheme === 'dark' ? DARK : LIGHT).background,
      }}
    >
      {/* Without a padding of its own: what fits is reckoned from its height. */}
      <div ref={box} style={{ height: '100%', overflow: 'hidden' }} />
    </div>
  );
}

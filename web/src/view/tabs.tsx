/** Pages of one thing, side by side. They are links: each has an address of its own. Too many for a phone scroll. */
import { Link } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import classes from './tabs.module.css';

export interface PageTab {
  to: string;
  label: string;
}

export function PageTabs({ label, tabs, active }: { label: string; tabs: readonly PageTab[]; active: string }) {
  const frame = useRef<HTMLElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the tab that is active now comes into sight
  useEffect(() => {
    const [outer, tab] = [frame.current, frame.current?.querySelector<HTMLElement>('[aria-current]')];
    if (outer == null || tab == null) return;
    const middle = tab.offsetLeft - outer.offsetLeft - (outer.clientWidth - tab.offsetWidth) / 2;
    outer.scrollTo({ left: Math.max(0, middle) });
  }, [active]);
  return (
    <nav ref={frame} className={classes.frame} aria-label={label}>
      <ul className={classes.tabs}>
        {tabs.map(({ to, label }) => (
          <li key={to}>
            <Link
              to={to}
              className={classes.tab}
              aria-current={to === active ? 'page' : undefined}
              activeOptions={{ exact: true }}
            >
              {label}
            </Link>
          </li>
        ))}
      </ul>
    </nav>
  );
}

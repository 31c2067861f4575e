/** What happened to an app: who did what, and what the platform did by itself. */
import { Section } from '../../view/section';
import { AppActivity } from './app_activity';

export default function AppEvents() {
  return (
    <Section title="Events" lead="What people did with this app, and what Coracle did by itself. The newest is on top.">
      <AppActivity />
    </Section>
  );
}

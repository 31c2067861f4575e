import { Loading, Page } from '../../view/page';

export default function Stub() {
  return (
    <Page title="overview">
      <Loading />
    </Page>
  );
}

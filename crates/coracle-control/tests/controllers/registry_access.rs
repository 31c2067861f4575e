//! With what a project logs in to the registry: told to the engine, gone with the project.

use coracle_control::OperationError;
use coracle_control::{keys, objects::Batch};
use coracle_model::name::ProjectName;
use coracle_model::project::ProjectSpec;
use coracle_store::{Expected, Page};

use crate::platform::{Life, Platform, ann, project, until};

fn shop() -> ProjectName {
    ProjectName::new("shop").unwrap()
}

async fn told(platform: &Platform, name: &ProjectName) -> String {
    let sim = platform.sim();
    until("the engine is told", || async {
        sim.pull_credentials(name).is_some()
    })
    .await;
    let pull = sim.pull_credentials(name).unwrap();
    assert_eq!(pull.host, "127.0.0.1:7070");
    pull.credentials.password.expose().to_owned()
}

async fn opens(life: &Life, secret: &str) -> Option<ProjectName> {
    life.control.registry_grant(secret).await.unwrap()
}

async fn login(life: &Life) -> Result<String, OperationError> {
    let login = life.control.registry_login(&shop()).await?;
    Ok(login.password.expose().to_owned())
}

async fn make_shop(life: &Life) {
    life.control
        .create_project(&shop(), ProjectSpec::default(), &ann())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_project_has_a_secret_of_its_own_until_its_end() {
    let platform = Platform::new();
    let life = platform.start().await;
    make_shop(&life).await;
    let (of_default, of_shop) = (
        told(&platform, &project()).await,
        told(&platform, &shop()).await,
    );
    assert_ne!(of_default, of_shop);
    assert_eq!(opens(&life, &of_shop).await, Some(shop()));
    assert_eq!(login(&life).await.unwrap(), of_shop);

    life.control
        .delete_project(&shop(), None, &ann())
        .await
        .unwrap();
    until("the project is gone", || async {
        let found = life.control.project(&shop()).await;
        matches!(found, Err(OperationError::NotFound { .. }))
    })
    .await;
    assert!(platform.sim().pull_credentials(&shop()).is_none());
    assert_eq!(opens(&life, &of_shop).await, None);
    let of_nobody = login(&life).await;
    assert!(matches!(of_nobody, Err(OperationError::NotFound { .. })));
    // Another one of the same name.
    make_shop(&life).await;
    until("the engine is told", || async {
        platform.sim().pull_credentials(&shop()).is_some()
    })
    .await;
    assert_ne!(told(&platform, &shop()).await, of_shop);
    assert_eq!(opens(&life, &of_shop).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_platform_from_before_gets_them_at_its_next_start_and_keeps_them() {
    let platform = Platform::new();
    let life = platform.start().await;
    let before = told(&platform, &project()).await;
    platform.kill(life).await;
    let life = platform.start().await;
    until("the engine is told again", || async {
        let sim = platform.sim();
        let calls = life.engine.calls();
        calls.contains(&coracle_engine::fault::Verb::SetPullCredentials)
            && sim.pull_credentials(&project()).is_some()
    })
    .await;
    assert_eq!(told(&platform, &project()).await, before, "kept");
    // As it was before there were any.
    let record = keys::registry_access(&project());
    let gone = Batch::new().delete(record, Expected::Any);
    life.control.objects.write(gone).await.unwrap();
    assert_eq!(opens(&life, &before).await, None);
    platform.kill(life).await;
    let life = platform.start().await;
    until("the engine is told another one", || async {
        let pull = platform.sim().pull_credentials(&project());
        pull.is_some_and(|pull| pull.credentials.password.expose() != before)
    })
    .await;
    let after = told(&platform, &project()).await;
    assert!(opens(&life, &after).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_secret_stands_nowhere_in_the_open() {
    let platform = Platform::new();
    let life = platform.start().await;
    let secret = told(&platform, &project()).await;
    let page = Page::default();
    let everything = life.control.objects.store().list("/", page).await.unwrap();
    assert!(everything.entries.len() > 1);
    for entry in everything.entries {
        let text = String::from_utf8_lossy(&entry.value);
        assert!(!text.contains("correg_"), "{}: {text}", entry.key);
    }
    let pull = life.control.pull_credentials(&project()).await.unwrap();
    let shown = format!("{pull:?} {:?}", life.control);
    assert!(!shown.contains(&secret[..20]), "{shown}");
}

//! What a change of the platform's settings asks for.

use coracle_control::keys;
use coracle_control::objects::Objects;
use coracle_model::app::AppSpec;
use coracle_model::domain::DomainSpec;
use coracle_model::env::Secret;
use coracle_model::name::{AppName, Hostname};
use coracle_model::settings::{RegistryLogin, SettingsSpec};

use crate::platform::{Platform, ann, hello, project, until};

async fn hosts(objects: &Objects) -> Vec<String> {
    let claims = objects.list::<DomainSpec>(keys::DOMAINS).await.unwrap();
    claims
        .into_iter()
        .map(|claim| claim.metadata.name)
        .collect()
}

fn under(domain: Option<&str>) -> SettingsSpec {
    SettingsSpec {
        domain: domain.map(|domain| Hostname::new(domain).unwrap()),
        ..SettingsSpec::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_domain_moves_every_app_and_its_url() {
    let platform = Platform::new();
    let life = platform.start().await;
    let control = &life.control;
    let create = async |name: &AppName, spec: AppSpec| {
        control
            .create_app(&project(), name, spec, &ann())
            .await
            .unwrap()
    };
    let first = create(&hello(), AppSpec::default()).await.status.url;
    // This one has the name by which the first would go after the change.
    let squatter = AppName::new("squatter").unwrap();
    let spec = AppSpec {
        domains: vec![Hostname::new("hello.apps.example.com").unwrap()],
        ..AppSpec::default()
    };
    create(&squatter, spec).await;
    let before = hosts(&control.objects).await;
    assert_eq!(before.len(), 3);

    let set = under(Some("apps.example.com"));
    control.update_settings(set, None, &ann()).await.unwrap();
    let moved = "squatter.apps.example.com".to_owned();
    until("the app is moved", || async {
        hosts(&control.objects).await.contains(&moved)
    })
    .await;
    let url = control.app(&project(), &squatter).await.unwrap().status.url;
    assert!(url.unwrap().starts_with("http://squatter.apps.example.com"));
    // What is taken stays with whoever has it, and the app keeps its old name.
    let now = hosts(&control.objects).await;
    assert_eq!(now.len(), 3, "{now:?}");
    assert!(
        now.iter()
            .any(|host| host.starts_with("hello.") && before.contains(host))
    );

    control
        .update_settings(under(None), None, &ann())
        .await
        .unwrap();
    until("everything is as it was", || async {
        hosts(&control.objects).await == before
    })
    .await;
    let url = control.app(&project(), &hello()).await.unwrap().status.url;
    assert_eq!(url, first);
}

#[tokio::test(start_paused = true)]
async fn the_engine_is_told_of_other_registries_at_once_and_in_each_life() {
    let platform = Platform::new();
    let life = platform.start().await;
    let login = RegistryLogin {
        host: "registry.example.com".to_owned(),
        username: "robot".to_owned(),
        password: Some(Secret::new("hunter2")),
        ..RegistryLogin::default()
    };
    let set = SettingsSpec {
        registries: vec![login],
        ..SettingsSpec::default()
    };
    life.control
        .update_settings(set, None, &ann())
        .await
        .unwrap();
    let told = || async {
        let pull = platform.sim().pull_credentials(&project());
        pull.is_some_and(|pull| {
            let other = pull.of("registry.example.com");
            pull.of("").is_none() && other.is_some_and(|login| login.password.expose() == "hunter2")
        })
    };
    until("the engine is told", told).await;
    platform.kill(life).await;
    let life = platform.start().await;
    until("the engine is told again", || async {
        let calls = life.engine.calls();
        calls.contains(&coracle_engine::fault::Verb::SetPullCredentials) && told().await
    })
    .await;
    let none = SettingsSpec::default();
    life.control
        .update_settings(none, None, &ann())
        .await
        .unwrap();
    until("the engine forgets", || async { !told().await }).await;
}

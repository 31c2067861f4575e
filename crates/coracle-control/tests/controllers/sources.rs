//! Sources: from what was asked for to an archive, and from there to a build.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_builder::git::{GitCredentials, Reach};
use coracle_control::OperationError;
use coracle_control::build::WantedBuild;
use coracle_control::source::MOST_FETCHING;
use coracle_model::build::{BuildPhase, Source as BuildSource};
use coracle_model::env::Secret;
use coracle_model::name::{EnvName, ProcessName, ProjectName};
use coracle_model::plan::sweep::Retention;
use coracle_model::project::ProjectSpec;
use coracle_model::release::{ProcessChange, ReleasePhase, RunChange};
use coracle_model::source::{
    GitOrigin, GitRef, GitUrl, Source, SourceId, SourceOrigin, SourcePhase, TemplateName,
};

use crate::git_server::{GitServer, Manners, Repository};
use crate::platform::{Life, Platform, ann, archive, hello, project, until};
use crate::stop::StopAt;

/// Everything on the disk that a source may leave.
fn files(platform: &Platform) -> Vec<String> {
    let list = |name: &str| match std::fs::read_dir(platform.dir().join(name)) {
        Ok(entries) => entries
            .map(|entry| format!("{name}/{}", entry.unwrap().file_name().to_string_lossy()))
            .collect::<Vec<_>>(),
        Err(_) => Vec::new(),
    };
    [list("uploads"), list("work"), list("fetch")].concat()
}

fn id(source: &Source) -> SourceId {
    SourceId::new(source.metadata.name.clone()).unwrap()
}

fn template(name: &str) -> SourceOrigin {
    SourceOrigin::Template {
        template: TemplateName::new(name).unwrap(),
    }
}

impl Life {
    async fn ask(&self, origin: SourceOrigin) -> SourceId {
        let source = self
            .control
            .create_fetched_source(&project(), origin, None, &ann())
            .await;
        id(&source.unwrap())
    }

    async fn upload_source(&self, content: Vec<u8>) -> SourceId {
        let chunk = Ok::<_, std::io::Error>(Bytes::from(content));
        let upload = self
            .control
            .receive_upload(futures::stream::iter([chunk]))
            .await
            .unwrap();
        let source = self
            .control
            .create_uploaded_source(&project(), upload, &ann())
            .await;
        id(&source.unwrap())
    }

    async fn fetched(&self, source: &SourceId) -> Source {
        until("the source is fetched, or not", || async {
            let source = self.control.source(&project(), source).await;
            source.is_ok_and(|source| source.status.phase.is_final())
        })
        .await;
        self.control.source(&project(), source).await.unwrap()
    }

    async fn build_of(&self, source: &SourceId, config: RunChange) -> Result<u32, OperationError> {
        let control = &self.control;
        control.ensure_app(&project(), &hello(), &ann()).await?;
        let taken = control.take_source(&project(), source).await?;
        let wanted = WantedBuild::of(taken, config);
        let build = control
            .submit_build_of(&project(), &hello(), wanted, None, &ann())
            .await?;
        Ok(build.spec.number)
    }
}

#[tokio::test(start_paused = true)]
async fn a_template_is_looked_through_and_built_as_often_as_wanted() {
    let platform = Platform::new();
    let life = platform.start().await;
    let source = life.ask(template("static-site")).await;
    let fetched = life.fetched(&source).await.status;
    assert_eq!(fetched.phase, SourcePhase::Ready, "{fetched:?}");
    assert!(fetched.files >= 4 && fetched.bytes > 100, "{fetched:?}");
    let detected = fetched.detected.unwrap();
    assert_eq!(detected.problem, None);
    assert_eq!(detected.app.unwrap().as_str(), "static-site");
    assert_eq!(detected.port, Some(8080));
    assert_eq!(files(&platform).len(), 1, "{:?}", files(&platform));

    let web = ProcessChange {
        replicas: Some(2),
        port: Some(9000),
        ..ProcessChange::default()
    };
    let mut change = RunChange::default();
    change.processes.insert(ProcessName::web(), web);
    change
        .env
        .insert(EnvName::new("GREETING").unwrap(), "hi".into());
    for config in [RunChange::default(), change] {
        let changed = !config.is_empty();
        let number = life.build_of(&source, config).await.unwrap();
        let built = life.built(number).await;
        assert_eq!(built.status.phase, BuildPhase::Succeeded, "{built:?}");
        assert!(matches!(built.spec.source, BuildSource::Template { .. }));
        let release = life.decided(built.status.release.unwrap()).await;
        assert_eq!(release.status.phase, ReleasePhase::Live, "{release:?}");
        let web = &release.spec.config.processes[&ProcessName::web()];
        let (replicas, port) = if changed { (2, Some(9000)) } else { (1, None) };
        assert_eq!((web.replicas, web.port), (replicas, port));
        assert_eq!(web.health.as_ref().unwrap().path.as_deref(), Some("/"));
        assert_eq!(release.spec.config.env.len(), usize::from(changed));
    }
    until("only the source's own file is left", || async {
        files(&platform).len() == 1
    })
    .await;
    life.control
        .delete_source(&project(), &source, &ann())
        .await
        .unwrap();
    assert_eq!(files(&platform), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_built_says_so_before_there_is_a_build() {
    let platform = Platform::new();
    let life = platform.start().await;
    let nothing = life.upload_source(archive(&[("README", "x")])).await;
    let status = life.fetched(&nothing).await.status;
    assert_eq!(status.phase, SourcePhase::Ready);
    let problem = status.detected.unwrap().problem.unwrap();
    assert!(problem.detail.contains("Dockerfile"), "{problem:?}");
    let refused = life.build_of(&nothing, RunChange::default()).await;
    assert!(matches!(refused, Err(OperationError::InvalidSource { .. })));

    let hostile = archive(&[("../../outside", "x")]);
    for content in [b"no archive".to_vec(), hostile] {
        let source = life.upload_source(content).await;
        let failed = life.fetched(&source).await.status;
        assert_eq!(failed.phase, SourcePhase::Failed, "{failed:?}");
        assert!(failed.reason.is_some() && failed.archive.is_none());
        let refused = life.build_of(&source, RunChange::default()).await;
        assert!(matches!(refused, Err(OperationError::InvalidSource { .. })));
    }
    // What is too much for the manifest's own rules is the build's to refuse.
    assert_eq!(life.app().await.status.last_build, 0);
    until("files of what failed are gone", || async {
        files(&platform).len() == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_project_has_only_so_many_sources() {
    let platform = Platform::new();
    let life = platform.start().await;
    for _ in 0..coracle_control::source::MOST_SOURCES {
        life.ask(template("worker")).await;
    }
    let refused = life
        .control
        .create_fetched_source(&project(), template("worker"), None, &ann())
        .await;
    assert!(matches!(refused, Err(OperationError::Conflict { .. })));
}

/// Killed before or after any write, the next life comes to the same end, and nothing is left that nobody names.
#[tokio::test(start_paused = true)]
async fn a_fetch_killed_at_any_step_ends_the_same() {
    async fn fetch_with(stop: StopAt) -> usize {
        let mut platform = Platform::new();
        platform.options.retention = Retention {
            uploads: Duration::from_secs(3600),
            ..Retention::default()
        };
        let life = platform.start().await;
        let sent = archive(&[("Dockerfile", "FROM debian:12\n"), ("Procfile", "web: x\n")]);
        let upload = life.upload_source(sent).await;
        let asked = life.ask(template("worker")).await;
        platform.kill(life).await;
        let first = platform.start_stopping(stop).await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        let writes = first.store.writes();
        platform.kill(first).await;
        let second = platform.start().await;
        for source in [&upload, &asked] {
            let status = second.fetched(source).await.status;
            assert_eq!(status.phase, SourcePhase::Ready, "{stop:?}: {status:?}");
            assert_eq!(status.detected.unwrap().problem, None, "{stop:?}");
            let archive = status.archive.unwrap();
            assert!(
                files(&platform).contains(&format!("uploads/{}", archive.id)),
                "{stop:?}"
            );
            let number = second.build_of(source, RunChange::default()).await;
            let built = second.built(number.unwrap()).await.status;
            assert_eq!(built.phase, BuildPhase::Succeeded, "{stop:?}: {built:?}");
        }
        let fetching = |file: &String| file.starts_with("fetch/");
        assert!(!files(&platform).iter().any(fetching), "{stop:?}");
        platform.kill(second).await;
        writes
    }
    let writes = fetch_with(StopAt::Never).await;
    assert!(writes >= 2, "{writes}");
    for n in 0..writes {
        for stop in [StopAt::Before(n), StopAt::After(n), StopAt::Fail(n)] {
            fetch_with(stop).await;
        }
    }
}

/// Killed before the record says why, the next life still finds what was sent, and says it.
#[tokio::test(start_paused = true)]
async fn why_an_archive_is_refused_outlives_a_kill() {
    for n in 0..3 {
        let platform = Platform::new();
        let life = platform.start().await;
        let upload = life.upload_source(b"no archive at all".to_vec()).await;
        platform.kill(life).await;
        let first = platform.start_stopping(StopAt::Before(n)).await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        platform.kill(first).await;
        let second = platform.start().await;
        let status = second.fetched(&upload).await.status;
        assert_eq!(status.phase, SourcePhase::Failed);
        let reason = status.reason.unwrap();
        assert!(!reason.contains("gone"), "{n}: {reason}");
        until("its file goes", || async { files(&platform).is_empty() }).await;
        platform.kill(second).await;
    }
}

/// Sources go an hour after their last use, with their files; files that nobody names go too; builds go on.
#[tokio::test(start_paused = true)]
async fn sources_that_nobody_uses_go() {
    let mut platform = Platform::new();
    platform.options.sweep = Duration::from_secs(60);
    let life = platform.start().await;
    let source = life.ask(template("worker")).await;
    life.fetched(&source).await;
    let unused = life.ask(template("worker")).await;
    life.fetched(&unused).await;
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert!(life.control.source(&project(), &unused).await.is_ok());
    tokio::time::sleep(Duration::from_secs(2000)).await;
    until("both are gone", || async {
        let left = platform.store.all().into_keys();
        let mut left = left.filter(|key| key.contains("/sources/"));
        left.next().is_none() && files(&platform).is_empty()
    })
    .await;
}

fn git(url: &str, reference: Option<&str>) -> SourceOrigin {
    SourceOrigin::Git(GitOrigin {
        url: GitUrl::new(url).unwrap(),
        reference: reference.map(|reference| GitRef::new(reference).unwrap()),
        path: None,
    })
}

/// In real time: git and its server are processes.
#[tokio::test]
async fn a_repository_becomes_a_build_that_names_its_commit() {
    let served = tempfile::tempdir().unwrap();
    let repository = Repository::new(served.path(), "shop");
    repository.write("Dockerfile", b"FROM debian:12\n");
    repository.write("Procfile", b"web: serve\n");
    let commit = repository.commit("Open the shop");
    let basic = "YW5uOmh1bnRlcjItc2VjcmV0";
    let server = GitServer::start(
        served.path(),
        Manners {
            basic: Some(basic.into()),
            ..Manners::default()
        },
    );
    let mut platform = Platform::new();
    platform.limits.git_reach = Reach::Everything;
    let life = platform.start().await;
    let credentials = GitCredentials {
        username: "ann".into(),
        password: Secret::new("hunter2-secret"),
    };
    let source = life
        .control
        .create_fetched_source(
            &project(),
            git(&server.url("shop.git"), Some("main")),
            Some(credentials),
            &ann(),
        )
        .await
        .unwrap();
    let source = id(&source);
    let fetched = life.fetched(&source).await.status;
    assert_eq!(fetched.phase, SourcePhase::Ready, "{fetched:?}");
    let found = fetched.commit.unwrap();
    assert_eq!(
        (found.id.as_str(), found.subject.as_str()),
        (commit.as_str(), "Open the shop")
    );
    assert_eq!(fetched.detected.unwrap().app.unwrap().as_str(), "shop");
    let number = life.build_of(&source, RunChange::default()).await.unwrap();
    let built = life.built(number).await;
    assert_eq!(built.status.phase, BuildPhase::Succeeded, "{built:?}");
    let BuildSource::Git(of) = &built.spec.source else {
        panic!("{built:?}");
    };
    assert_eq!(
        (&of.commit, of.url.as_str()),
        (&found, server.url("shop.git").as_str())
    );
    // The credentials went with the fetch, and were never anywhere in the clear.
    for (key, value) in platform.store.all() {
        let value = format!("{value:?}");
        assert!(!key.contains("source-access"), "{key}");
        assert!(
            !value.contains("hunter2") && !value.contains(basic),
            "{key}"
        );
    }
    // The build's own name of the file goes after its end was written.
    until("only the source's own file is left", || async {
        files(&platform).len() == 1
    })
    .await;

    // Without them, and where no repository is.
    for (url, said) in [
        (server.url("shop.git"), "password"),
        ("http://nothing.invalid/a.git".to_owned(), "no server"),
    ] {
        let source = life.ask(git(&url, None)).await;
        let failed = life.fetched(&source).await.status;
        assert_eq!(failed.phase, SourcePhase::Failed);
        assert!(
            failed.reason.as_deref().unwrap().contains(said),
            "{failed:?}"
        );
    }
}

/// Sealed in the store while it is fetched; deleted meanwhile, nothing of it is left, and git has ended.
#[tokio::test]
async fn a_fetch_that_nobody_wants_any_more_is_ended() {
    let served = tempfile::tempdir().unwrap();
    let server = GitServer::start(
        served.path(),
        Manners {
            silent: Arc::new(true.into()),
            ..Manners::default()
        },
    );
    let mut platform = Platform::new();
    platform.limits.git_reach = Reach::Everything;
    let life = platform.start().await;
    let credentials = GitCredentials {
        username: "ann".into(),
        password: Secret::new("hunter2-secret"),
    };
    let source = life
        .control
        .create_fetched_source(
            &project(),
            git(&server.url("shop.git"), None),
            Some(credentials),
            &ann(),
        )
        .await
        .unwrap();
    until("it is asked for", || async { !server.seen().is_empty() }).await;
    let all = platform.store.all();
    assert!(all.keys().any(|key| key.starts_with("/source-access/")));
    assert!(!format!("{all:?}").contains("hunter2"));
    life.control
        .delete_source(&project(), &id(&source), &ann())
        .await
        .unwrap();
    until("nothing is left of it", || async {
        let left = platform.store.all().into_keys();
        let mut left = left.filter(|key| key.contains("/source"));
        left.next().is_none() && files(&platform).is_empty()
    })
    .await;
}

/// Without the operator's word the platform's own machine is not asked.
#[tokio::test]
async fn what_is_on_the_platforms_machine_is_not_fetched() {
    let served = tempfile::tempdir().unwrap();
    let server = GitServer::start(served.path(), Manners::default());
    let platform = Platform::new();
    let life = platform.start().await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/a.git", server.address.port());
        let source = life.ask(git(&url, None)).await;
        let failed = life.fetched(&source).await.status;
        assert_eq!(failed.phase, SourcePhase::Failed);
        let reason = failed.reason.unwrap();
        assert!(reason.contains("the platform's own machine"), "{reason}");
    }
    assert_eq!(server.seen(), Vec::<String>::new());
}

/// One project has one turn at a time and few that wait, however many of its people ask at the same moment.
#[tokio::test]
async fn one_projects_repositories_keep_no_others_waiting() {
    let served = tempfile::tempdir().unwrap();
    let repository = Repository::new(served.path(), "shop");
    repository.write("Dockerfile", b"FROM debian:12\n");
    repository.commit("Open the shop");
    let open = GitServer::start(served.path(), Manners::default());
    let silent = GitServer::start(
        served.path(),
        Manners {
            silent: Arc::new(true.into()),
            ..Manners::default()
        },
    );
    let mut platform = Platform::new();
    platform.limits.git_reach = Reach::Everything;
    let life = platform.start().await;
    let (mine, me) = (project(), ann());
    let asked = (0..3 * MOST_FETCHING).map(|_| {
        let origin = git(&silent.url("shop.git"), None);
        let control = &life.control;
        control.create_fetched_source(&mine, origin, None, &me)
    });
    let answers = futures::future::join_all(asked).await;
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(taken <= MOST_FETCHING, "{taken}");
    let refused = |answer: &Result<Source, OperationError>| {
        matches!(answer, Ok(_) | Err(OperationError::Conflict { .. }))
    };
    assert!(answers.iter().all(refused), "{answers:?}");
    let kept = platform.store.all().into_keys();
    assert_eq!(
        kept.filter(|key| key.starts_with("/sources/")).count(),
        taken
    );
    // Some wait in any case.
    for _ in taken..MOST_FETCHING {
        life.ask(git(&silent.url("shop.git"), None)).await;
    }
    // An archive of the same project has room all the same.
    let sent = life.upload_source(archive(&[("Dockerfile", "FROM debian:12\n")]));
    let sent = life.fetched(&sent.await).await.status;
    assert_eq!(sent.phase, SourcePhase::Ready, "{sent:?}");

    let other = ProjectName::new("other").unwrap();
    life.control
        .create_project(&other, ProjectSpec::default(), &me)
        .await
        .unwrap();
    let source = life
        .control
        .create_fetched_source(&other, git(&open.url("shop.git"), None), None, &me)
        .await;
    let source = id(&source.unwrap());
    until("the other project's is fetched", || async {
        let source = life.control.source(&other, &source).await.unwrap();
        source.status.phase == SourcePhase::Ready
    })
    .await;
    assert_eq!(silent.seen().len(), 1, "{:?}", silent.seen());
}

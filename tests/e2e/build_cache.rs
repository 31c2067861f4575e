//! What builds leave in Docker is held to a bound. With a daemon of the test's own: the cache is one for all who build.

use coracle_e2e::{Daemon, LONG, Options, Platform, Source, until};

/// What the daemon keeps to make builds faster, in bytes.
fn cache(daemon: &Daemon) -> u64 {
    let told = daemon
        .docker()
        .run(&["system", "df", "--format", "{{.Type}} {{.Size}}"]);
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("Build Cache "));
    let text = line.unwrap().trim();
    let (number, factor) = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)]
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap();
    let bytes = number.parse::<f64>().unwrap() * factor;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size on a disk"
    )]
    let bytes = bytes as u64;
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_of_builds_does_not_grow_for_ever() {
    const MEBI: u64 = 1024 * 1024;
    let Some(daemon) = Daemon::start().await else {
        return;
    };
    let mut most = 0;
    for (limit, builds) in [("off", 4), ("8Mi", 4)] {
        let platform = Platform::prepare(Options {
            docker: daemon.docker(),
            arguments: vec!["--build-cache".to_owned(), limit.to_owned()],
            ..Options::default()
        });
        platform.up().await;
        for build in 0..builds {
            let source = Source::page("page");
            // What the image does not have of it is cache and nothing else.
            let fill = format!(
                "FROM coracle-test:1 AS first\n\
                 RUN echo {limit} {build} > /small && head -c 6000000 /dev/urandom > /filling\n\
                 FROM coracle-test:1\n\
                 COPY --from=first /small /www/small\n"
            );
            source.write("Dockerfile", &fill);
            platform
                .coracle(&["deploy", source.arg(), "--app", "shop"])
                .await
                .ok();
            most = most.max(cache(&daemon));
        }
        if limit == "off" {
            assert!(most > 20 * MEBI, "it is left alone: {most}");
        } else {
            until("the cache is within its bound", LONG, || async {
                cache(&daemon) <= 8 * MEBI
            })
            .await;
            eprintln!("the cache had {most} bytes and has {}", cache(&daemon));
        }
    }
}

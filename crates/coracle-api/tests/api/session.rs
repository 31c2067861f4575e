//! Logging in and out.

use std::os::unix::fs::PermissionsExt as _;

use coracle_api::{FirstAdmin, ensure_admin, hash_password};
use coracle_control::journal::Actor;
use coracle_control::user::Credential;
use coracle_model::env::Secret;
use coracle_model::user::{ProjectScope, Role, UserSpec};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Options, Platform, WriteBudget};

const PASSWORD: &str = "correct horse battery";

async fn person(platform: &Platform, name: &str, role: Role) {
    let hash = hash_password(Secret::new(PASSWORD)).await.unwrap();
    platform
        .control
        .create_user(
            &name.parse().unwrap(),
            UserSpec {
                role,
                projects: ProjectScope::All,
            },
            &Credential { hash },
            &Actor::Platform("test"),
        )
        .await
        .unwrap();
}

async fn log_in(platform: &Platform, name: &str, password: &str) -> Answer {
    let body = json!({"user": name, "password": password});
    platform.nobody().post("session", &body).await
}

fn secret(answer: &Answer) -> String {
    answer.ok(201)["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_lasts_from_login_to_logout() {
    let platform = Platform::new().await;
    person(&platform, "ann", Role::Developer).await;
    let answer = log_in(&platform, "ann", PASSWORD).await;
    let session = answer.ok(201);
    assert_eq!(
        (&session["user"], &session["role"]),
        (&json!("ann"), &json!("developer"))
    );
    let secret = secret(&answer);
    let cookie = answer.header("set-cookie");
    let parts: Vec<&str> = cookie.split("; ").collect();
    assert_eq!(parts[0], format!("coracle_session={secret}"));
    assert_eq!(parts[1..4], ["Path=/", "HttpOnly", "SameSite=Strict"]);
    assert_eq!(parts[4], format!("Max-Age={}", 30 * 24 * 3600));
    assert_eq!(answer.header("cache-control"), "no-store");

    let ann = platform.bearing(&secret);
    let me = ann.get("session").await.ok(200);
    assert_eq!(me["user"], "ann");
    assert_eq!(me["projects"], "all");
    assert_eq!(me["domain"], "localhost");
    assert_eq!(me["expires"], session["expires"]);
    // A session is no token that one could see in a list.
    assert_eq!(ann.get("tokens").await.ok(200)["items"], json!([]));

    let out = ann.delete("session").await;
    out.ok(204);
    assert!(out.header("set-cookie").contains("coracle_session=; "));
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    ann.get("session").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn over_tls_the_cookie_is_bound_to_host_and_tls() {
    let platform = Platform::new().await;
    person(&platform, "ann", Role::Developer).await;
    let body = json!({"user": "ann", "password": PASSWORD});
    for (name, value, secure) in [
        ("x-forwarded-proto", "https", true),
        ("x-forwarded-proto", "HTTPS, http", true),
        ("origin", "https://coracle.example.com", true),
        ("x-forwarded-proto", "http", false),
        ("origin", "http://coracle.example.com", false),
    ] {
        let nobody = platform.nobody();
        let request = nobody.request(Method::POST, "session").json(&body);
        let answer = Answer::of(request.header(name, value)).await;
        let secret = secret(&answer);
        let cookie = answer.header("set-cookie").to_owned();
        let begin = if secure {
            "__Host-coracle_session="
        } else {
            "coracle_session="
        };
        assert!(cookie.starts_with(begin), "{name}: {value}: {cookie}");
        assert_eq!(cookie.ends_with("; Secure"), secure, "{cookie}");
        assert!(
            cookie.contains("Path=/; HttpOnly; SameSite=Strict"),
            "{cookie}"
        );
        assert!(!cookie.contains("Domain"), "{cookie}");
        let back = nobody.request(Method::GET, "session");
        let pair = cookie.split(';').next().unwrap();
        // One that was planted beside it does not win.
        let pair = format!("coracle_session=planted; {pair}");
        let me = Answer::of(back.header("cookie", pair)).await;
        if secure {
            assert_eq!(me.ok(200)["user"], "ann");
        }
        let out = nobody.request(Method::DELETE, "session");
        let out = out
            .header("authorization", format!("Bearer {secret}"))
            .header(name, value);
        let out = Answer::of(out).await;
        out.ok(204);
        assert!(out.header("set-cookie").starts_with(&format!("{begin};")));
    }
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_are_answered_alike() {
    let platform = Platform::new().await;
    person(&platform, "ann", Role::Developer).await;
    let mut answers = Vec::new();
    for (user, password) in [("ann", "wrong"), ("bob", PASSWORD), ("ann", "")] {
        let answer = log_in(&platform, user, password).await;
        let mut problem = answer.problem(401, "unauthenticated");
        problem["request_id"] = Value::Null;
        assert!(answer.headers.get("set-cookie").is_none());
        answers.push(problem);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    let refused = platform
        .nobody()
        .post("session", &json!({"user": "Ann;", "password": PASSWORD}))
        .await;
    refused.about(422, "invalid_field", "user");
    assert!(!refused.text().contains(PASSWORD));
}

#[tokio::test]
async fn who_guesses_is_made_to_wait_and_a_good_login_is_not() {
    let platform = Platform::new().await;
    person(&platform, "ann", Role::Developer).await;
    // Good logins of one address are not counted against it.
    for _ in 0..12 {
        log_in(&platform, "ann", PASSWORD).await.ok(201);
    }
    for _ in 0..10 {
        log_in(&platform, "ann", "guess")
            .await
            .problem(401, "unauthenticated");
    }
    let limited = log_in(&platform, "ann", PASSWORD).await;
    limited.problem(429, "rate_limited");
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    assert!((1..=7).contains(&wait), "{wait}");
    // The address is slowed down too, for whichever name.
    log_in(&platform, "bob", "guess")
        .await
        .problem(429, "rate_limited");
}

#[tokio::test]
async fn a_new_password_ends_all_sessions() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    person(&platform, "ann", Role::Viewer).await;
    let sessions = [
        secret(&log_in(&platform, "ann", PASSWORD).await),
        secret(&log_in(&platform, "ann", PASSWORD).await),
    ];
    let ann = platform.bearing(&sessions[0]);
    let path = "users/ann/password";
    let new = "another good password";
    ann.put(path, &json!({"password": new}))
        .await
        .about(403, "forbidden", "current");
    ann.put(path, &json!({"password": new, "current": "wrong"}))
        .await
        .about(403, "forbidden", "current");
    ann.put(path, &json!({"password": "short", "current": PASSWORD}))
        .await
        .about(422, "invalid_field", "password");
    ann.put(
        "users/root/password",
        &json!({"password": new, "current": PASSWORD}),
    )
    .await
    .problem(403, "forbidden");
    ann.get("session").await.ok(200);

    ann.put(path, &json!({"password": new, "current": PASSWORD}))
        .await
        .ok(204);
    for session in &sessions {
        let ann = platform.bearing(session);
        ann.get("session").await.problem(401, "unauthenticated");
    }
    log_in(&platform, "ann", PASSWORD)
        .await
        .problem(401, "unauthenticated");
    let session = secret(&log_in(&platform, "ann", new).await);
    // An administrator needs no present password, and ends the sessions too.
    admin
        .put(path, &json!({"password": PASSWORD}))
        .await
        .ok(204);
    let ann = platform.bearing(&session);
    ann.get("session").await.problem(401, "unauthenticated");
    admin
        .put("users/nobody/password", &json!({"password": PASSWORD}))
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let platform = Platform::new().await;
    let file = platform.data.join("run/first-password");
    let made = ensure_admin(&platform.control, None, &file).await;
    assert_eq!(made.unwrap(), FirstAdmin::MadeUp);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let password = std::fs::read_to_string(&file).unwrap();
    let session = secret(&log_in(&platform, "admin", &password).await);
    let admin = platform.bearing(&session);
    assert_eq!(admin.get("session").await.ok(200)["role"], "admin");
    for given in [None, Some(Secret::new("something else"))] {
        let again = ensure_admin(&platform.control, given, &file).await;
        assert_eq!(again.unwrap(), FirstAdmin::AlreadyThere);
    }
    log_in(&platform, "admin", "something else")
        .await
        .problem(401, "unauthenticated");
    // It is kept until somebody was shown it, or it is not the password any more.
    assert_eq!(std::fs::read_to_string(&file).unwrap(), password);
    let change = json!({"password": "another one", "current": password});
    admin.put("users/admin/password", &change).await.ok(204);
    let again = ensure_admin(&platform.control, None, &file).await;
    again.unwrap();
    assert!(!file.exists());
}

#[tokio::test]
async fn a_first_start_that_is_cut_off_anywhere_leaves_no_administrator_without_a_known_password() {
    let mut cut_off = 0;
    for writes in 0.. {
        let budget = WriteBudget::default();
        let platform = Platform::with(Options {
            writes: Some(budget.clone()),
            ..Options::default()
        })
        .await;
        let file = platform.data.join("run/first-password");
        budget.set(writes);
        let first = ensure_admin(&platform.control, None, &file).await;
        let spent = budget.is_spent();
        budget.lift();
        cut_off += usize::from(first.is_err());
        // The process that was cut off starts again.
        let again = ensure_admin(&platform.control, None, &file).await;
        again.unwrap();
        let password = std::fs::read_to_string(&file).unwrap();
        secret(&log_in(&platform, "admin", &password).await);
        if !spent {
            break;
        }
    }
    assert!(cut_off > 0);
    // Where the file cannot be written, no user is made.
    let platform = Platform::new().await;
    std::fs::write(platform.data.join("run"), "no folder").unwrap();
    let file = platform.data.join("run/first-password");
    let failed = ensure_admin(&platform.control, None, &file).await;
    failed.unwrap_err();
    assert_eq!(platform.control.users().await.unwrap(), []);
    // The next start is told a password: what was made up for the one that was cut off is not shown to anybody.
    let platform = Platform::new().await;
    let file = platform.data.join("first-password");
    std::fs::write(&file, "of a start that was cut off").unwrap();
    let given = Secret::new(PASSWORD);
    let made = ensure_admin(&platform.control, Some(given), &file).await;
    assert_eq!(made.unwrap(), FirstAdmin::Made);
    assert!(!file.exists());
    secret(&log_in(&platform, "admin", PASSWORD).await);
}

#[tokio::test]
async fn of_two_control_planes_that_start_at_once_one_has_the_first_password() {
    let platform = Platform::new().await;
    let files = ["one", "two"].map(|name| platform.data.join(name));
    let start = |n: usize| ensure_admin(&platform.control, None, &files[n]);
    let (one, two) = tokio::join!(start(0), start(1));
    let made = [one.unwrap(), two.unwrap()];
    let kept = files.each_ref().map(|file| file.exists());
    assert_eq!(made.map(|made| made == FirstAdmin::MadeUp), kept);
    let kept: Vec<_> = files.iter().filter(|file| file.exists()).collect();
    assert_eq!(kept.len(), 1);
    let password = std::fs::read_to_string(kept[0]).unwrap();
    secret(&log_in(&platform, "admin", &password).await);
    // What a kill left of the other goes at its next start.
    let other = usize::from(made[0] == FirstAdmin::MadeUp);
    std::fs::write(&files[other], "a password of nobody").unwrap();
    start(other).await.unwrap();
    assert!(!files[other].exists());
}

//! Every route with every sort of credentials, and what is not a route.

use chrono::{Duration, Utc};
use coracle_control::journal::Actor;
use coracle_model::user::{ProjectScope, Role};
use reqwest::Method;
use serde_json::json;

use crate::build_source::{submitted, with_pass};
use crate::support::{Answer, As, GATEWAY_TOKEN, Platform, only, project};

/// What a route takes, by the rule that people are told and not by the table of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Gateway,
    Ticket,
    SignedIn,
    InProject(Role),
    Everywhere(Role),
}

fn need(method: &str, path: &str) -> Need {
    use Need::{Everywhere, Gateway, InProject, Nothing, SignedIn, Ticket};
    let look = method == "get";
    match path {
        "/" | "/healthz" | "/readyz" | "/api/v1/openapi.json" => Nothing,
        "/api/v1/session" if method == "post" => Nothing,
        "/metrics" | "/api/v1/system" | "/api/v1/nodes" | "/api/v1/nodes/{node}" => {
            Everywhere(Role::Viewer)
        }
        "/api/v1/system/usage" | "/api/v1/nodes/{node}/usage" => Everywhere(Role::Viewer),
        path if path.starts_with("/api/v1/nodes/{node}/") => Everywhere(Role::Admin),
        "/api/v1/registry" => Everywhere(Role::Viewer),
        "/api/v1/registry/collect" => Everywhere(Role::Admin),
        "/api/v1/settings" if look => Everywhere(Role::Viewer),
        "/api/v1/export" | "/api/v1/import" | "/api/v1/settings" => Everywhere(Role::Admin),
        "/api/v1/projects" if !look => Everywhere(Role::Admin),
        "/api/v1/projects/{project}" if method == "put" => InProject(Role::Admin),
        "/api/v1/projects/{project}" if method == "delete" => Everywhere(Role::Admin),
        "/api/v1/users/{user}/password" => SignedIn,
        "/internal/v1/build-source" => Ticket,
        path if path.starts_with("/internal/") => Gateway,
        path if path.starts_with("/api/v1/users") => Everywhere(Role::Admin),
        path if path.contains("{project}") => {
            let inside = ["/env", "/exec", "/attach", "/connect", "/description"];
            if look && !inside.iter().any(|end| path.ends_with(end)) {
                InProject(Role::Viewer)
            } else {
                InProject(Role::Developer)
            }
        }
        _ => SignedIn,
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    In,
    Unauthenticated,
    Forbidden,
    NotFound,
}

/// Who is known: role, and whether project `one` is in scope, and whether everything is.
#[derive(Clone, Copy)]
struct Known {
    role: Role,
    sees_one: bool,
    sees_all: bool,
}

fn fate(need: Need, known: Option<Known>) -> Fate {
    let Some(known) = known else {
        return match need {
            Need::Nothing => Fate::In,
            _ => Fate::Unauthenticated,
        };
    };
    match need {
        Need::Nothing | Need::SignedIn => Fate::In,
        Need::Gateway | Need::Ticket => Fate::Unauthenticated,
        Need::InProject(_) if !known.sees_one => Fate::NotFound,
        Need::Everywhere(_) if !known.sees_all => Fate::Forbidden,
        Need::InProject(role) | Need::Everywhere(role) if known.role < role => Fate::Forbidden,
        Need::InProject(_) | Need::Everywhere(_) => Fate::In,
    }
}

fn filled(path: &str) -> String {
    [
        ("{project}", "one"),
        ("{app}", "hello"),
        ("{build}", "b1"),
        ("{release}", "v1"),
        ("{pod}", "box"),
        ("{user}", "somebody-else"),
        ("{token}", "nothing"),
        ("{volume}", "disk"),
        ("{node}", "node-a"),
        ("{repository}", "one/hello"),
        ("{host}", "shop.example.com"),
        ("{source}", "00000000000000000000000000000000"),
        ("{gateway}", "g1"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (name, value)| {
        path.replace(name, value)
    })
}

/// Only the head: some answers have no end.
async fn status(caller: &As, method: &str, path: &str) -> (u16, String) {
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let response = caller.request(method, path).send().await.unwrap();
    let status = response.status().as_u16();
    if status >= 400 {
        let body: serde_json::Value = response.json().await.unwrap();
        return (status, body["code"].as_str().unwrap().to_owned());
    }
    (status, String::new())
}

#[tokio::test]
async fn every_route_is_closed_to_who_may_not() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for name in ["one", "other"] {
        admin.make_project(name).await;
    }
    admin.make_app("one", "hello").await;
    let gone = platform.user("gone", Role::Admin, ProjectScope::All).await;
    platform
        .control
        .delete_user(&"gone".parse().unwrap(), None, &Actor::Platform("test"))
        .await
        .unwrap();
    let known = |role, sees_one, sees_all| {
        Some(Known {
            role,
            sees_one,
            sees_all,
        })
    };
    let all = ProjectScope::All;
    let past = Utc::now() - Duration::seconds(1);
    let unusual = As {
        authorization: Some("Digest x".to_owned()),
        ..platform.nobody()
    };
    let basic = As {
        authorization: Some("Basic !!!".to_owned()),
        ..platform.nobody()
    };
    let one = project("one");
    let pull = platform.control.registry_login(&one).await.unwrap();
    let build = submitted(&platform, "one", "hello").await;
    let callers = [
        ("nobody", platform.nobody(), None),
        ("garbage", platform.bearing("cor_0123456789abcdef"), None),
        ("an empty bearer", platform.bearing(""), None),
        ("an unknown scheme", unusual, None),
        ("broken Basic", basic, None),
        ("the gateways' token", platform.bearing(GATEWAY_TOKEN), None),
        (
            "the registry's own credential",
            platform.bearing(platform.credential.secret().expose()),
            None,
        ),
        (
            "a project's pull secret",
            platform.bearing(pull.password.expose()),
            None,
        ),
        ("a build's pass", with_pass(&platform, "one", &build), None),
        ("a deleted user's token", gone, None),
        (
            "an expired token",
            platform
                .token("root", "old", Role::Admin, all.clone(), Some(past))
                .await,
            None,
        ),
        (
            "a viewer",
            platform.user("vera", Role::Viewer, all.clone()).await,
            known(Role::Viewer, true, true),
        ),
        (
            "a viewer of the project",
            platform.user("victor", Role::Viewer, only(&["one"])).await,
            known(Role::Viewer, true, false),
        ),
        (
            "a developer",
            platform.user("dora", Role::Developer, all.clone()).await,
            known(Role::Developer, true, true),
        ),
        (
            "a developer of another project",
            platform
                .user("dan", Role::Developer, only(&["other"]))
                .await,
            known(Role::Developer, false, false),
        ),
        (
            "an administrator's token of a viewer",
            platform
                .token("root", "look", Role::Viewer, all.clone(), None)
                .await,
            known(Role::Viewer, true, true),
        ),
        (
            "an administrator's token of another project",
            platform
                .token("root", "other", Role::Admin, only(&["other"]), None)
                .await,
            known(Role::Admin, false, false),
        ),
        (
            "a developer's token of no common project",
            platform
                .token("dan", "none", Role::Developer, only(&["one"]), None)
                .await,
            known(Role::Developer, false, false),
        ),
        (
            "an administrator",
            admin.clone(),
            known(Role::Admin, true, true),
        ),
    ];

    let document = platform.nobody().get("openapi.json").await.ok(200);
    let mut asked = 0;
    let mut wrong = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if method == "delete" && path == "/api/v1/session" {
                // It ends the caller: has a test of its own.
                continue;
            }
            let need = need(method, path);
            for (who, caller, known) in &callers {
                let expected = fate(need, *known);
                let gateway = *who == "the gateways' token" && need == Need::Gateway;
                let (status, code) = status(caller, method, &filled(path)).await;
                // Somebody else's password, and the other tokens of a narrowed one's owner.
                let own_rule = (path.ends_with("/password") || path.contains("/tokens"))
                    && code == "forbidden";
                let got = match status {
                    401 => Fate::Unauthenticated,
                    403 if own_rule && expected == Fate::In => Fate::In,
                    403 => Fate::Forbidden,
                    404 if expected == Fate::NotFound => Fate::NotFound,
                    500.. => panic!("{method} {path} as {who}: {status} {code}"),
                    _ => Fate::In,
                };
                let expected = if gateway { Fate::In } else { expected };
                // A login without a body is refused for that, and not for who asks.
                if got != expected {
                    wrong.push(format!(
                        "{method} {path} as {who}: {status} {code}, not {expected:?}"
                    ));
                }
                asked += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked > 800, "only {asked} combinations were asked");
}

#[tokio::test]
async fn a_head_is_as_open_as_its_get() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let head = |caller: As| async move {
        let request = caller.request(Method::HEAD, "users");
        Answer::of(request).await
    };
    assert_eq!(head(platform.nobody()).await.status, 401);
    let answer = head(admin).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let viewer = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    assert_eq!(head(viewer).await.status, 403);
}

#[tokio::test]
async fn what_is_no_route_and_no_method_is_a_problem_like_any_other() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for caller in [platform.nobody(), admin.clone()] {
        for path in [
            "/api",
            "/api/v1",
            "/api/v1/",
            "/api/v2/projects",
            "/api/v1/projects/default/secrets",
            "/api/v1/projects/",
            "/internal/v1/",
            "/internal/v1/gateways",
        ] {
            caller.get(path).await.problem(404, "not_found");
        }
        for method in ["PUT", "OPTIONS", "TRACE", "BREW", "CONNECT-ME"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = Answer::of(caller.request(method, "projects")).await;
            answer.problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), "GET, POST, HEAD");
        }
        let answer = Answer::of(caller.request(Method::HEAD, "tokens/x")).await;
        assert_eq!(answer.status, 405);
    }
}

/// With the session's cookie instead of a token, and this header.
async fn by_cookie(
    platform: &Platform,
    secret: &str,
    method: Method,
    path: &str,
    header: Option<(&str, &str)>,
) -> Answer {
    let mut request = platform
        .nobody()
        .request(method, path)
        .header("cookie", format!("theme=dark; coracle_session={secret}"))
        .json(&json!({"metadata": {"name": "made"}, "spec": {}}));
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    Answer::of(request).await
}

#[tokio::test]
async fn a_cookie_works_from_the_dashboards_own_pages_only() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let secret = admin.authorization.clone().unwrap();
    let secret = secret.strip_prefix("Bearer ").unwrap();
    let own = format!("http://{}", platform.address);
    let other_port = "http://127.0.0.1:1".to_owned();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", &other_port),
        ("origin", &format!("{own}.evil.example")),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let header = Some((name, value));
        for (method, path) in [
            (Method::POST, "projects"),
            (Method::PUT, "projects/default"),
            (Method::DELETE, "projects/default"),
            (Method::PATCH, "projects/default/apps/a/env"),
            (Method::DELETE, "session"),
        ] {
            by_cookie(&platform, secret, method, path, header)
                .await
                .problem(403, "forbidden");
        }
        // Looking is harmless: the browser does not give the answer to the foreign page.
        by_cookie(&platform, secret, Method::GET, "session", header)
            .await
            .ok(200);
        // A WebSocket is not protected in that way.
        let upgrade = platform
            .nobody()
            .request(Method::GET, "projects/default/pods/box/exec?command=id")
            .header("cookie", format!("coracle_session={secret}"))
            .header(name, value)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        Answer::of(upgrade).await.problem(403, "forbidden");
    }
    by_cookie(
        &platform,
        secret,
        Method::POST,
        "projects",
        Some(("origin", &own)),
    )
    .await
    .ok(201);
    // Programs that are no browsers send neither header.
    by_cookie(&platform, secret, Method::DELETE, "projects/made", None)
        .await
        .ok(202);
    // A header that is wrong is not made up for by a cookie that is right.
    let both = platform
        .bearing("cor_wrong")
        .request(Method::GET, "session")
        .header("cookie", format!("coracle_session={secret}"));
    Answer::of(both).await.problem(401, "unauthenticated");
}

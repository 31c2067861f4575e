//! Users.

use coracle_model::user::{ProjectScope, Role};
use serde_json::json;

use crate::support::{Platform, only};

#[tokio::test]
async fn a_user_is_made_read_changed_and_deleted() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let new = json!({"metadata": {"name": "ann"},
        "spec": {"role": "developer", "projects": {"only": ["default"]}, "password": "first password"}});
    let made = admin.post("users", &new).await;
    let user = made.ok(201);
    assert!(!made.text().contains("first password") && !made.text().contains("argon2"));
    assert_eq!(
        user["spec"],
        json!({"role": "developer", "projects": {"only": ["default"]}})
    );
    admin
        .post("users", &new)
        .await
        .about(409, "already_exists", "metadata.name");
    assert_eq!(admin.get("users/ann").await.ok(200), user);

    let mut changed = user.clone();
    changed["spec"]["role"] = json!("viewer");
    let after = admin.put("users/ann", &changed).await.ok(200);
    assert_eq!(after["spec"]["role"], "viewer");
    // What was read before the change is stale now.
    admin
        .put("users/ann", &user)
        .await
        .problem(409, "stale_revision");
    let stale = admin
        .request(reqwest::Method::DELETE, "users/ann")
        .header("if-match", "\"1\"");
    crate::support::Answer::of(stale)
        .await
        .problem(409, "stale_revision");
    admin.put("users/ann", &after).await.ok(200);

    admin.delete("users/ann").await.ok(204);
    admin.get("users/ann").await.problem(404, "not_found");
    admin.delete("users/ann").await.problem(404, "not_found");
}

#[tokio::test]
async fn what_a_user_may_do_changes_at_once() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    let dan = platform.user("dan", Role::Developer, only(&["shop"])).await;
    dan.make_app("shop", "till").await;
    admin
        .put(
            "users/dan",
            &json!({"spec": {"role": "viewer", "projects": {"only": ["default"]}}}),
        )
        .await
        .ok(200);
    dan.get("projects/shop").await.problem(404, "not_found");
    dan.delete("projects/shop/apps/till")
        .await
        .problem(404, "not_found");
    dan.get("projects/default").await.ok(200);
    let names = dan.get("projects").await.ok(200);
    assert_eq!(names["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let viewer = json!({"spec": {"role": "viewer"}});
    let problem = admin
        .put("users/root", &viewer)
        .await
        .problem(409, "conflict");
    assert_eq!(problem["detail"], "root is the only administrator");
    admin.delete("users/root").await.problem(409, "conflict");
    admin.get("session").await.ok(200);
}

#[tokio::test]
async fn administrators_who_remove_each_other_at_once_leave_one() {
    let platform = Platform::new().await;
    let mut admins = Vec::new();
    for n in 0..6 {
        let name = format!("admin{n}");
        admins.push((
            platform.user(&name, Role::Admin, ProjectScope::All).await,
            name,
        ));
    }
    let all = admins.iter().enumerate().map(|(n, (_, name))| {
        let by = admins[(n + 1) % admins.len()].0.clone();
        async move {
            if n % 2 == 0 {
                by.delete(&format!("users/{name}")).await.status
            } else {
                let viewer = json!({"spec": {"role": "viewer"}});
                by.put(&format!("users/{name}"), &viewer).await.status
            }
        }
    });
    let statuses = futures::future::join_all(all).await;
    let left = platform.control.users().await.unwrap();
    let left = left
        .iter()
        .filter(|user| user.spec.role == Role::Admin)
        .count();
    assert!(left >= 1, "nobody is left who could mend it: {statuses:?}");
}

#[tokio::test]
async fn a_new_user_does_not_inherit_the_tokens_of_a_namesake() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let old = platform
        .user("ann", Role::Developer, ProjectScope::All)
        .await;
    // A deletion that was cut off after its first write: the user is gone, the tokens are not.
    let key = coracle_control::keys::user(&"ann".parse().unwrap());
    platform.control.objects.delete(&key).await.unwrap();
    old.get("session").await.problem(401, "unauthenticated");
    let new =
        json!({"metadata": {"name": "ann"}, "spec": {"role": "admin", "password": "a new person"}});
    admin.post("users", &new).await.ok(201);
    old.get("session").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_bad_user_is_refused_with_the_field() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for (metadata, spec, status, code, field) in [
        (
            json!({"name": "Ann"}),
            json!({"role": "viewer", "password": "long enough"}),
            422,
            "invalid_field",
            "metadata.name",
        ),
        (
            json!({}),
            json!({"role": "viewer", "password": "long enough"}),
            422,
            "invalid_field",
            "metadata.name",
        ),
        (
            json!({"name": "ann"}),
            json!({"role": "root", "password": "long enough"}),
            422,
            "invalid_field",
            "spec.role",
        ),
        (
            json!({"name": "ann"}),
            json!({"role": "viewer", "password": "short"}),
            422,
            "invalid_field",
            "spec.password",
        ),
        (
            json!({"name": "ann"}),
            json!({"role": "viewer", "password": "x".repeat(1025)}),
            422,
            "invalid_field",
            "spec.password",
        ),
        (
            json!({"name": "ann"}),
            json!({"role": "viewer", "password": 12345678}),
            422,
            "invalid_field",
            "spec.password",
        ),
        (
            json!({"name": "ann"}),
            json!({"role": "viewer", "password": "long enough", "admin": true}),
            422,
            "unknown_field",
            "spec.admin",
        ),
        (
            json!({"name": "ann"}),
            json!({"role": "viewer", "password": "long enough", "projects": {"only": ["A B"]}}),
            422,
            "invalid_field",
            "spec.projects.only[0]",
        ),
    ] {
        let body = json!({"metadata": metadata, "spec": spec});
        let answer = admin.post("users", &body).await;
        answer.about(status, code, field);
        assert!(!answer.text().contains("long enough"));
    }
    assert_eq!(platform.control.users().await.unwrap().len(), 1);
}

//! Volumes.

use coracle_model::name::VolumeName;
use serde_json::json;

use crate::support::{Platform, project};

#[tokio::test]
async fn volumes_are_listed_by_project_and_deleted() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    for (at, name) in [("default", "b"), ("default", "a"), ("shop", "c")] {
        let name = VolumeName::new(name).unwrap();
        platform
            .control
            .engine
            .ensure_volume(&project(at), &name, None)
            .await
            .unwrap();
    }
    let list = admin.get("projects/default/volumes").await.ok(200);
    assert_eq!(
        list["items"],
        json!([{"name": "a", "project": "default", "used_by": []}, {"name": "b", "project": "default", "used_by": []}])
    );
    admin.delete("projects/default/volumes/a").await.ok(204);
    let names = admin.get("projects/default/volumes").await.ok(200);
    assert_eq!(names["items"].as_array().unwrap().len(), 1);
    for (path, code) in [
        ("projects/default/volumes/a", "not_found"),
        ("projects/default/volumes/c", "not_found"),
        ("projects/never/volumes/c", "not_found"),
    ] {
        admin.delete(path).await.problem(404, code);
    }
    admin
        .get("projects/never/volumes")
        .await
        .problem(404, "not_found");
    let activity = admin.get("activity?limit=1").await.ok(200);
    assert_eq!(activity["items"][0]["spec"]["action"], "volume.deleted");
}

//! The embedded pages: complete, and loading nothing from elsewhere.

use crate::client::{Answer, Call};
use crate::models::Part;
use crate::server::Server;

async fn page(server: &Server, path: &str) -> Answer {
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    server.send(Call::get(path).header("Accept", browser)).await
}

/// What a page's attributes name, resolved against its own address.
fn loaded(page: &Answer, folder: &str) -> Vec<String> {
    let attributes = page.body.split([' ', '>']).filter_map(|part| {
        let value = part
            .strip_prefix("src=\"")
            .or_else(|| part.strip_prefix("href=\""))?;
        value
            .strip_suffix('"')
            .filter(|value| value.contains("ui/"))
    });
    attributes
        .map(|value| {
            let up = value.matches("../").count();
            let kept: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
            let kept = &kept[..kept.len() - up];
            std::iter::once("")
                .chain(kept.iter().copied())
                .chain([value.trim_start_matches("../").trim_start_matches("./")])
                .collect::<Vec<_>>()
                .join("/")
        })
        .collect()
}

#[tokio::test]
async fn every_file_that_a_page_names_is_served_here() {
    let server = Server::start(Part::Echo);
    for (path, folder, files) in [
        ("/", "/", 3),
        ("/workflows/echo", "/workflows/", 3),
        ("/docs", "/", 4),
        ("/workflows/echo/docs", "/workflows/echo/", 4),
    ] {
        let page = page(&server, path).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{path}"
        );
        let loaded = loaded(&page, folder);
        assert_eq!(loaded.len(), files, "{path}: {loaded:?}");
        for file in loaded {
            let answer = server.get(&file).await;
            assert_eq!(answer.status, 200, "{path} names {file}");
            assert!(answer.body.len() > 100, "{file}");
        }
    }
}

#[tokio::test]
async fn scripts_come_from_files_only() {
    let server = Server::start(Part::Echo);
    for path in ["/", "/docs"] {
        let page = page(&server, path).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!page.body.contains("style="), "{path}");
        assert!(!page.body.contains("://"), "{path} names another server");
        assert!(
            page.body.split("<script").skip(1).all(|script| script
                .split('>')
                .next()
                .unwrap()
                .contains("src=")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn own_files_name_no_other_server() {
    let server = Server::start(Part::Echo);
    for file in [
        "playground.js",
        "form.js",
        "events.js",
        "key.js",
        "timeline.js",
        "playground.css",
        "docs.js",
    ] {
        let answer = server.get(&format!("/ui/{file}")).await;
        assert!(!answer.body.contains("://"), "{file}");
    }
}

#[tokio::test]
async fn an_unchanged_file_is_not_sent_again() {
    let server = Server::start(Part::Echo);
    let tag = server
        .get("/ui/form.js")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    let again = server
        .send(Call::get("/ui/form.js").header("If-None-Match", &tag))
        .await;
    assert_eq!((again.status, &*again.body), (304, ""));
}
